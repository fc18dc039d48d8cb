# frozen_string_literal: true

require "digest/sha2" # all of it now: what "digest" loads at first use is not safe between threads

module OrderFulfilment
  # Stands in for a payment provider: knows nothing of workflows, is called from many threads, and takes a key with each
  # charge, so that the same charge asked for twice is made once. Its test cards behave as their names say.
  class PaymentGateway
    # The provider did not answer; the charge may be asked for again.
    class Unavailable < StandardError; end

    # The bank said no, and will say no again.
    class Declined < StandardError; end

    Charge = Struct.new(:id, :amount, :paid_by, keyword_init: true)

    def initialize
      @lock = Mutex.new
      @charges = {}
      @attempts = Hash.new(0)
    end

    # @param key [String] the same key is the same charge
    # @param order_id [Integer]
    # @param amount [String] a decimal number
    # @param card [String, nil] a card's token; nil bills by invoice
    # @param attempt [Integer] which attempt of the caller this is. A real provider's outage does not end because our
    #   process restarts; counting by the caller's attempts keeps this one's as long as it says.
    # @return [Charge]
    # @raise [Unavailable, Declined]
    def charge(key:, order_id:, amount:, card:, attempt:)
      @lock.synchronize do
        @attempts[order_id] += 1
        @charges[key] ||= begin
          answer(card, attempt)
          id = "ch_#{Digest::SHA256.hexdigest(key)[0, 16]}"
          Charge.new(id: id, amount: amount, paid_by: card ? "card" : "invoice")
        end
      end
    end

    # @return [Integer] how often this process asked for a charge of the order
    def attempts(order_id)
      @lock.synchronize { @attempts.fetch(order_id, 0) }
    end

    # @return [Integer] how many charges this process made
    def charges
      @lock.synchronize { @charges.size }
    end

    private

    def answer(card, attempt)
      case card
      when "tok_fails_twice" then raise Unavailable, "the payment gateway did not answer" if attempt <= 2
      when "tok_declined" then raise Declined, "the card was declined"
      end
    end
  end
end
