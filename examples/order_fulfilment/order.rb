# frozen_string_literal: true

require "bigdecimal"

module OrderFulfilment
  # An order as it was submitted, with exact money. A step's context is plain JSON, where a price is a Float; the
  # shortest text of that Float is the decimal that was written, so BigDecimal of it is exact.
  class Order
    def initialize(context)
      @context = context
    end

    def id
      @context["order_id"]
    end

    def items
      @context["items"]
    end

    def shipping
      @context["shipping"]
    end

    # @return [String, nil] the token of the card to charge; nil when the order is paid on invoice
    def card
      @context.dig("payment", "card")
    end

    # @return [BigDecimal] price × quantity × (1 − discount), summed over all lines and not rounded
    def total
      items.sum(BigDecimal(0)) do |item|
        decimal(item["price"]) * item["quantity"] * (1 - decimal(item["discount"] || 0))
      end
    end

    # @return [BigDecimal]
    def freight
      decimal(shipping["freight"] || 0)
    end

    # @return [BigDecimal] what the customer pays, in whole cents
    def amount_due
      (total + freight).round(2, :half_even)
    end

    private

    def decimal(number)
      BigDecimal(number.to_s)
    end
  end
end
