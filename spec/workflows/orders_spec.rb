# frozen_string_literal: true

require "spec_helper"
require_relative "../../examples/order_fulfilment/handlers"

# The order workflow as the example defines it in YAML, on orders of its file: the odd ones are among the first 40.
RSpec.describe "order fulfilment" do
  file = File.join(Specs::ROOT, "examples/order_fulfilment/orders.jsonl")
  orders = File.foreach(file, encoding: "UTF-8").first(40).map { |line| JSON.parse(line) }
  large = orders.find { |order| order["items"].size > 2_000 }
  empty = orders.find { |order| order["items"].empty? }
  failing = orders.find { |order| order.dig("payment", "card") == "tok_fails_twice" }
  declined = orders.find { |order| order.dig("payment", "card") == "tok_declined" }
  good = orders - [empty, declined]

  before do
    Stepwell.load_workflows(File.join(Specs::ROOT, "config/workflows"))
    start_stepwell("fulfillment")
  end

  def fulfil(*orders)
    tasks = Stepwell.submit_all(orders.map { |order| { workflow: "fulfillment/process_order", context: order } })
    Stepwell.wait_all(tasks, timeout: 60)
  end

  # The results again, computed without Stepwell: as the handlers' contract says.
  def expected(order, task)
    total = order["items"].sum(BigDecimal(0)) do |item|
      BigDecimal(item["price"].to_s) * item["quantity"] * (1 - BigDecimal(item["discount"].to_s))
    end
    due = (total + BigDecimal(order["shipping"]["freight"].to_s)).round(2, :half_even)
    kept = order["items"].map { |item| %w[Hamburg Lyon Łódź][item["product_id"] % 3] }
    charge = "ch_#{Digest::SHA256.hexdigest("#{task.id}:process_payment")[0, 16]}"
    reservation = "rsv_#{Digest::SHA256.hexdigest("#{task.id}:reserve_inventory")[0, 12]}"
    { total: total.to_s("F"), due: due.to_s("F"), kept: kept, charge: charge, reservation: reservation,
      to: order["shipping"].values_at("name", "city", "country").join(", ") }
  end

  def expect_fulfilled(order, task)
    expect(task.error).to be_nil
    facts = expected(order, task)
    expect(task.result("validate_order")).to eq(
      "order_id" => order["order_id"], "lines" => order["items"].size, "total" => facts[:total],
      "freight" => BigDecimal(order["shipping"]["freight"].to_s).to_s("F"), "amount_due" => facts[:due]
    )
    expect(task.result("reserve_inventory")).to include(
      "reservation" => facts[:reservation], "units" => order["items"].sum { |item| item["quantity"] },
      "warehouses" => facts[:kept].uniq
    )
    expect(task.result("reserve_inventory")["lines"].map { |line| line["warehouse"] }).to eq(facts[:kept])
    expect(task.result("process_payment")).to eq(
      "charge" => facts[:charge], "paid_by" => order.dig("payment", "card") ? "card" : "invoice",
      "amount" => facts[:due], "currency" => "EUR", "total" => facts[:total], "reservation" => facts[:reservation]
    )
    expect(task.result("ship_order")).to include(
      "order_id" => order["order_id"], "to" => facts[:to], "parcels" => facts[:kept].uniq.size,
      "charge" => facts[:charge], "total" => facts[:total], "label" => a_string_matching(/\A\p{Lu}+-\d{10}-\d\z/)
    )
    expect_times_in_order(task)
  end

  def expect_times_in_order(task)
    steps = task.steps.to_h { |step| [step.name, step] }
    expect(steps.keys).to eq(%w[validate_order reserve_inventory process_payment ship_order])
    steps.each_value do |step|
      step.depends_on.each { |name| expect(steps[name].finished_at).to be <= step.started_at }
    end
  end

  it "fulfils every good order, with exactly the results of its steps" do
    tasks = fulfil(*good)

    expect(tasks.map(&:state).tally).to eq(complete: good.size)
    good.zip(tasks) { |order, task| expect_fulfilled(order, task) }
  end

  it "brings names in all scripts back as they were" do
    orders = good.reject { |order| order["shipping"]["name"].ascii_only? }
    expect(orders.size).to be > 3
    tasks = fulfil(*orders)

    expect(tasks.map { |task| task.context["shipping"] }).to eq(orders.map { |order| order["shipping"] })
    orders.zip(tasks) { |order, task| expect(task.result("ship_order")["to"]).to start_with(order["shipping"]["name"]) }
    name = psql("select context #>> '{shipping,name}' from stepwell.tasks where task_id = '#{tasks.first.id}'")
    expect(name).to eq(orders.first["shipping"]["name"])
  end

  it "fulfils an order of more than 200 KB" do
    expect(JSON.generate(large).bytesize).to be > 200_000
    task = fulfil(large).first

    expect_fulfilled(large, task)
    expect(task.context).to eq(large)
    expect(task.result("reserve_inventory")["lines"].size).to eq(large["items"].size)
  end

  it "refuses an order without items for good, at its first step" do
    task = fulfil(empty).first

    expect(task.state).to be(:error)
    expect(task.error).to eq("validate_order: order #{empty["order_id"]} has no items")
    expect(task.results).to eq({})
    expect(task.steps.map { |step| [step.state, step.attempt] }).to eq([[:error, 1], *[[:pending, 0]] * 3])
    expect(task.steps.first.error)
      .to include("kind" => "permanent", "class" => "Stepwell::PermanentError", "code" => "EMPTY_ORDER")
  end

  it "charges an order whose payment fails twice at the third attempt, once" do
    charges = OrderFulfilment::GATEWAY.charges
    task = fulfil(failing).first

    expect_fulfilled(failing, task)
    expect(task.steps.to_h { |step| [step.name, step.attempt] })
      .to eq("validate_order" => 1, "reserve_inventory" => 1, "process_payment" => 3, "ship_order" => 1)
    attempts = psql("select attempt, kind, error_class, message from stepwell.step_attempts order by attempt")
    expect(attempts.lines(chomp: true)).to eq(
      %w[1 2].map { |n| "#{n}|retryable|Stepwell::RetryableError|the payment gateway did not answer" }
    )
    expect(OrderFulfilment::GATEWAY.charges).to eq(charges + 1)
  end

  it "does not ask again when the payment is refused, and ships nothing" do
    task = fulfil(declined).first

    expect(task.state).to be(:error)
    expect(task.error).to eq("process_payment: the card was declined")
    expect(task.results.keys).to eq(%w[validate_order reserve_inventory])
    expect(task.steps.map(&:state)).to eq(%i[complete complete error pending])
    expect(task.steps[2]).to have_attributes(attempt: 1, max_attempts: 5)
    expect(task.steps[2].error).to include("code" => "CARD_DECLINED")
  end

  it "names each field of an order that does not match the schema, and submits nothing" do
    bad = good.first.merge("order_id" => "7", "customer" => { "id" => "X" },
                           "items" => [{ "product_id" => 1, "product" => "Tea", "price" => -1, "quantity" => 0 }])

    expect { fulfil(good.first, bad) }.to raise_error(Stepwell::ValidationError) { |error|
      ["1.", "order_id", "company", "country", "items.0.price", "items.0.quantity"].each do |field|
        expect(error.message).to include(field)
      end
    }
    expect(psql("select count(*) from stepwell.tasks")).to eq("0")
    expect(psql("select count(*) from pgmq.q_task_requests")).to eq("0")
  end
end
