# frozen_string_literal: true

require "spec_helper"
require_relative "../examples/order_fulfilment/handlers"

# 830 real orders, where the file is at hand: it is not the project's own.
northwind = ENV.fetch("STEPWELL_NORTHWIND") { File.expand_path("../shared/data/northwind_orders.jsonl", Specs::ROOT) }

if File.file?(northwind)
  RSpec.describe "the Northwind orders" do
    let(:orders) { File.foreach(northwind, encoding: "UTF-8").map { |line| JSON.parse(line) } }

    it "are all fulfilled, and their totals add up to the last digit" do
      Stepwell.load_workflows(File.join(Specs::ROOT, "config/workflows"))
      start_stepwell("fulfillment")
      tasks = Stepwell.submit_all(orders.map { |order| { workflow: "fulfillment/process_order", context: order } })
      Stepwell.wait_all(tasks, timeout: 120)

      expect(tasks.map(&:state).tally).to eq(complete: 830)
      totals = JSON.parse(psql("select json_agg(result ->> 'total') from stepwell.steps where name = 'ship_order'"))
      expect(totals.sum { |total| BigDecimal(total) }).to eq(BigDecimal("1265793.0395"))
      expect(psql("select sum((result ->> 'lines')::int) from stepwell.steps where name = 'validate_order'"))
        .to eq("2155")
      expect(tasks.map { |task| task.context["shipping"]["name"] }).to eq(orders.map { |it| it["shipping"]["name"] })
      expect(psql("select count(*) from stepwell.step_attempts")).to eq("0")
    end
  end
end
