# frozen_string_literal: true

require "json"
require_relative "../../examples/order_fulfilment/generate_orders"
require_relative "../../examples/order_fulfilment/order"

RSpec.describe "the example's orders" do
  file = File.expand_path("../../examples/order_fulfilment/orders.jsonl", __dir__)
  let(:text) { File.read(file, encoding: "UTF-8") }
  let(:orders) { text.each_line.map { |line| JSON.parse(line) } }

  it "are what the generator writes, byte for byte" do
    expect(OrderFulfilment::OrderGenerator.new.jsonl == text).to be(true)
  end

  it "have odd ones among them, one of each within the first 40" do
    odd = { empty: ->(order) { order["items"].empty? },
            fails_twice: ->(order) { order.dig("payment", "card") == "tok_fails_twice" },
            declined: ->(order) { order.dig("payment", "card") == "tok_declined" },
            large: ->(order) { JSON.generate(order).bytesize > 200_000 } }

    expect(odd.transform_values { |test| orders.count(&test) })
      .to eq(empty: 3, fails_twice: 4, declined: 5, large: 1)
    expect(odd.transform_values { |test| orders.first(40).count(&test) })
      .to eq(empty: 1, fails_twice: 1, declined: 1, large: 1)
  end

  it "have ids of their own and names in many scripts" do
    expect(orders.map { |order| order["order_id"] }.uniq.size).to eq(1_000)
    scripts = %w[Greek Cyrillic Georgian Armenian Arabic Hebrew Devanagari Tamil Thai Han Hiragana Hangul Ethiopic]
    expect(scripts.reject { |script| text.match?(/\p{#{script}}/) }).to be_empty
  end

  it "add up exactly" do
    line = { "price" => 0.1, "quantity" => 3, "discount" => 0.05 }
    order = OrderFulfilment::Order.new("items" => [line] * 3, "shipping" => { "freight" => 0.15 })

    expect(order.total.to_s("F")).to eq("0.855")
    expect(order.amount_due.to_s("F")).to eq("1.0")
  end
end
