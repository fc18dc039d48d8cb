#!/usr/bin/env ruby
# frozen_string_literal: true

# Writes orders.jsonl: ruby examples/order_fulfilment/generate_orders.rb [FILE]
# The same seed gives the same file, byte for byte. Most orders are good; the odd ones can be found by what is in them:
# no items, the cards tok_fails_twice and tok_declined, and one with 200 KB of lines.

require "date"
require "json"
require_relative "catalogue"

module OrderFulfilment
  class OrderGenerator
    SEED = 20_240_229
    COUNT = 1_000
    FIRST_ID = 70_001
    LARGE_LINES = 2_250

    # Index in the file => what is odd about the order. One of each is among the first 40.
    ODD = {
      5 => :empty, 12 => :fails_twice, 20 => :declined, 30 => :large,
      230 => :fails_twice, 301 => :declined, 412 => :empty, 505 => :fails_twice, 599 => :declined,
      742 => :declined, 777 => :empty, 880 => :fails_twice, 951 => :declined
    }.freeze

    def initialize(seed: SEED)
      @random = Random.new(seed)
    end

    # @return [Array<Hash>] the orders
    def orders(count = COUNT)
      Array.new(count) { |index| order(index, ODD[index]) }
    end

    # @return [String] the orders as JSON lines
    def jsonl(count = COUNT)
      orders(count).map { |order| "#{JSON.generate(order)}\n" }.join
    end

    private

    def order(index, oddity)
      customer = pick(Catalogue::CUSTOMERS)
      ordered_on = Date.new(2023, 1, 2) + (index / 2)
      order = { order_id: FIRST_ID + index, customer: customer_fields(customer), ordered_on: ordered_on.iso8601,
                required_on: (ordered_on + 14 + @random.rand(28)).iso8601, items: items(oddity),
                shipping: shipping_fields(customer) }
      payment = payment(oddity)
      payment ? order.merge(payment: payment) : order
    end

    def customer_fields(customer)
      company, contact, _street, _city, _region, _postal_code, country = customer
      number = Catalogue::CUSTOMERS.index(customer) + 1
      { id: format("CU%03d", number), company: company, contact: contact, country: country,
        phone: format("+00 555 01%02d", number) }
    end

    def items(oddity)
      return [] if oddity == :empty

      lines = oddity == :large ? LARGE_LINES : 1 + @random.rand(5)
      Array.new(lines) do
        index = @random.rand(Catalogue::PRODUCTS.size)
        name, cents = Catalogue::PRODUCTS[index]
        { product_id: index + 1, product: name, price: cents / 100.0, quantity: 1 + @random.rand(60),
          discount: pick([0.0, 0.0, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25]) }
      end
    end

    def shipping_fields(customer)
      company, _contact, street, city, region, postal_code, country = customer
      { carrier: pick(Catalogue::CARRIERS), freight: (50 + @random.rand(20_000)) / 100.0, name: company,
        address: street, city: city, region: region, postal_code: postal_code, country: country }
    end

    # A quarter of the orders say nothing about payment, as older shops send them: those are billed.
    def payment(oddity)
      usual = pick([{ method: "card", card: "tok_visa" }, { method: "card", card: "tok_mastercard" },
                    { method: "invoice" }, nil])
      case oddity
      when :fails_twice, :declined then { method: "card", card: "tok_#{oddity}" }
      else usual
      end
    end

    def pick(list)
      list[@random.rand(list.size)]
    end
  end
end

if $PROGRAM_NAME == __FILE__
  file = ARGV.fetch(0, File.join(__dir__, "orders.jsonl"))
  File.write(file, OrderFulfilment::OrderGenerator.new.jsonl)
  puts "#{file}: #{OrderFulfilment::OrderGenerator::COUNT} orders"
end
