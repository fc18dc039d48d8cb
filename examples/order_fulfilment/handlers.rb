# frozen_string_literal: true

require "digest/sha2" # all of it now: what "digest" loads at first use is not safe between threads
require "stepwell"
require_relative "order"
require_relative "payment_gateway"

# The code of the steps in config/workflows/process_order.yml. A step may run again after a crash, so each one computes
# the same result from the same order: ids come from the step's idempotency key, not from a counter or the clock.
# Money travels as strings, because JSON's numbers are floats to most who read them.
module OrderFulfilment
  GATEWAY = PaymentGateway.new

  # @return [String] an id that is the same for every attempt of a step
  def self.stable_id(prefix, *parts)
    "#{prefix}#{Digest::SHA256.hexdigest(parts.join("/"))[0, 12]}"
  end

  # Prices the order. An order with nothing in it is the customer's mistake: trying again would not help.
  class ValidateOrder < Stepwell::StepHandler
    def call(step)
      order = Order.new(step.context)
      if order.items.empty?
        raise Stepwell::PermanentError.new("order #{order.id} has no items", code: "EMPTY_ORDER")
      end

      { "order_id" => order.id, "lines" => order.items.size, "total" => order.total.to_s("F"),
        "freight" => order.freight.to_s("F"), "amount_due" => order.amount_due.to_s("F") }
    end
  end

  # Sets the goods aside, each product in the warehouse that keeps it.
  class ReserveInventory < Stepwell::StepHandler
    MOST_OF_ONE_PRODUCT = 10_000

    def call(step)
      lines = Order.new(step.context).items.each_with_index.map { |item, index| reserve(item, index, step) }
      { "reservation" => OrderFulfilment.stable_id("rsv_", step.idempotency_key),
        "units" => lines.sum { |line| line["quantity"] },
        "warehouses" => lines.map { |line| line["warehouse"] }.uniq,
        "lines" => lines }
    end

    private

    def reserve(item, index, step)
      if item["quantity"] > MOST_OF_ONE_PRODUCT
        raise Stepwell::PermanentError.new("only #{MOST_OF_ONE_PRODUCT} of #{item["product"]} in stock, " \
                                           "#{item["quantity"]} ordered", code: "OUT_OF_STOCK")
      end

      warehouses = step.config["warehouses"]
      { "id" => OrderFulfilment.stable_id("rsl_", step.idempotency_key, index), "product_id" => item["product_id"],
        "quantity" => item["quantity"], "warehouse" => warehouses[item["product_id"] % warehouses.size] }
    end
  end

  # Charges what validate_order computed. The gateway's silence is worth another attempt, its refusal is final.
  class ProcessPayment < Stepwell::StepHandler
    def call(step)
      order = Order.new(step.context)
      bill = step.results["validate_order"]
      charge = GATEWAY.charge(key: step.idempotency_key, order_id: order.id, amount: bill["amount_due"],
                              card: order.card, attempt: step.attempt)
      { "charge" => charge.id, "paid_by" => charge.paid_by, "amount" => charge.amount,
        "currency" => step.config["currency"], "total" => bill["total"],
        "reservation" => step.results["reserve_inventory"]["reservation"] }
    rescue PaymentGateway::Unavailable => e
      raise Stepwell::RetryableError, e.message
    rescue PaymentGateway::Declined => e
      raise Stepwell::PermanentError.new(e.message, code: "CARD_DECLINED")
    end
  end

  # Prints a label for the parcels, one from each warehouse.
  class ShipOrder < Stepwell::StepHandler
    def call(step)
      order = Order.new(step.context)
      to = order.shipping
      { "order_id" => order.id, "label" => label(to["carrier"], step.idempotency_key), "carrier" => to["carrier"],
        "to" => [to["name"], to["city"], to["country"]].join(", "),
        "parcels" => step.results["reserve_inventory"]["warehouses"].size,
        "charge" => step.results["process_payment"]["charge"], "total" => step.results["process_payment"]["total"] }
    end

    private

    # The carrier's initials, a number, and a check digit.
    def label(carrier, key)
      number = Digest::SHA256.hexdigest(key)[0, 12].to_i(16).to_s[0, 10].rjust(10, "0")
      "#{carrier.scan(/\b\p{L}/).join.upcase}-#{number}-#{number.each_char.sum(&:to_i) % 10}"
    end
  end
end
