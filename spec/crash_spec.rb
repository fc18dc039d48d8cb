# frozen_string_literal: true

require "spec_helper"
require_relative "../examples/order_fulfilment/order"

# A worker is a process of its own here, and dies by kill -9 while it is in the middle of things.
RSpec.describe "a worker that is killed" do
  orders = File.foreach(File.join(Specs::ROOT, "examples/order_fulfilment/orders.jsonl"), encoding: "UTF-8")
               .map { |line| JSON.parse(line) }
               .select { |order| order["items"].size.between?(1, 10) && order.dig("payment", "card") != "tok_declined" }
               .first(200)

  # The example's workflow and attempts, with handlers that note what they do and hang on demand, and short delays.
  workflow = <<~RUBY
    require "#{Specs::ROOT}/examples/order_fulfilment/handlers"
    $executions = Queue.new
    $never = Queue.new
    module Noted # each execution: appended to a file with one write, so that it is there whatever happens next
      def call(step)
        $executions << File.write(ENV.fetch("NOTES"), "\#{step.task_id} \#{step.name} \#{step.attempt}\\n", mode: "a")
        $never.pop if $executions.size > ENV.fetch("HANG_AFTER").to_i # from here on every thread is in a step
        super
      end
    end
    steps = [OrderFulfilment::ValidateOrder, OrderFulfilment::ReserveInventory, OrderFulfilment::ProcessPayment,
             OrderFulfilment::ShipOrder].map { |handler| Class.new(handler) { prepend Noted } }
    Stepwell.workflow "crash/orders" do
      step :validate_order, steps[0]
      step :reserve_inventory, steps[1], depends_on: :validate_order, config: { warehouses: %w[A B C] }
      step :process_payment, steps[2], depends_on: %i[validate_order reserve_inventory], max_attempts: 5,
                                       config: { currency: "EUR" }, backoff: { base: 0.02, cap: 0.05 }
      step :ship_order, steps[3], depends_on: %i[reserve_inventory process_payment]
    end
  RUBY

  worker_script = <<~RUBY
    #{workflow}
    worker = Stepwell::Worker.new(namespaces: ["crash"], concurrency: 10).start
    puts "started"
    Thread.new do
      sleep 0.01 until $never.num_waiting == 10
      puts "in the middle"
    end
    $stdin.read
    exit worker.stop(timeout: 10)
  RUBY

  def notes
    File.join(folder, "notes")
  end

  def run_worker(script, hang_after)
    run_ruby(script, env: { "DATABASE_URL" => database_url, "NOTES" => notes, "HANG_AFTER" => hang_after.to_s,
                            "STEPWELL__WORKER__LEASE" => "1s" })
  end

  it "loses none of 200 orders, and no step of them is applied twice" do
    orchestrator = start_orchestrator
    victim = run_worker(worker_script, 300)
    expect(victim.gets).to eq("started") # and has registered the workflow
    tasks = Stepwell.submit_all(orders.map { |order| { workflow: "crash/orders", context: order } })
    expect(victim.gets).to eq("in the middle")
    rescuer = nil
    expect do
      victim.signal("KILL")
      expect(victim.ended.termsig).to eq(9)
      held = psql("select coalesce(sum(cardinality(task_ids)), 0) from stepwell.claims").to_i
      expect(held).to be >= 10 # ten were being executed
      rescuer = run_worker(worker_script, 1_000_000)
      Stepwell.wait_all(tasks, timeout: 60)
    end.to output(/a worker stopped sending heartbeats, its steps were recovered/).to_stderr_from_any_process
    expect(rescuer.wait.exitstatus).to eq(0)

    expect(tasks.map(&:state).tally).to eq(complete: 200)
    expect_every_result(tasks, orders)
    expect_one_outcome_of_each_step
    expect(psql("select count(*) from stepwell.claims")).to eq("0")
    expect(orchestrator.status[:summary]).to include(steps_completed: 800, steps_failed: 0, dead_letters: 0)
  end

  def expect_every_result(tasks, orders)
    totals = tasks.map { |task| BigDecimal(task.result("ship_order")["total"]) }
    expect(totals).to eq(orders.map { |order| OrderFulfilment::Order.new(order).total })
    expect(tasks.map { |task| task.results.size }.tally).to eq(4 => 200)
    charges = tasks.map { |task| task.result("process_payment")["charge"] }
    expect(charges.uniq.size).to eq(200)
    expect(tasks.map { |task| task.result("ship_order")["charge"] }).to eq(charges)
  end

  def expect_one_outcome_of_each_step
    # Every attempt but the last has a record of why it did not count, and the last has none.
    wrong = psql(<<~SQL)
      select s.task_id, s.name, s.attempt, array_agg(a.attempt order by a.attempt)
        from stepwell.steps s left join stepwell.step_attempts a using (task_id, position)
       group by 1, 2, 3
      having coalesce(array_agg(a.attempt::int order by a.attempt) filter (where a.attempt is not null), '{}')
             <> array(select generate_series(1, s.attempt - 1))
    SQL
    expect(wrong).to be_empty
    lost = psql("select count(*) from stepwell.step_attempts where kind = 'lost_lease'").to_i
    expect(lost).to be >= 10
    kinds = psql("select distinct kind from stepwell.step_attempts").lines(chomp: true)
    expect(kinds - %w[lost_lease retryable]).to be_empty
    # Each attempt was executed at most once; the applied one exactly once.
    executed = File.readlines(notes, chomp: true).tally
    expect(executed.values.uniq).to eq([1])
    applied = psql("select task_id || ' ' || name || ' ' || attempt from stepwell.steps").lines(chomp: true)
    expect(applied.size).to eq(800)
    expect(applied - executed.keys).to be_empty
  end

  it "a step that kills every worker ends in error, and does not loop" do
    Stepwell.workflow("crash/poison") { step :only, Class.new(Stepwell::StepHandler), max_attempts: 2 }
    task = start_orchestrator.submit("crash/poison")
    killer = <<~RUBY
      handler = Class.new(Stepwell::StepHandler) { def call(_) = Process.kill("KILL", Process.pid) }
      Stepwell.workflow("crash/poison") { step :only, handler, max_attempts: 2 }
      Stepwell::Worker.new(namespaces: ["crash"], concurrency: 1).start
      $stdin.read
    RUBY
    expect do
      2.times { expect(run_worker(killer, 0).ended.termsig).to eq(9) }
      task.wait(timeout: 20)
    end.to output(/a worker stopped sending heartbeats/).to_stderr_from_any_process

    expect(task.state).to be(:error)
    expect(task.steps.first).to have_attributes(state: :error, attempt: 2)
    expect(task.steps.first.error).to include("kind" => "lost_lease", "code" => "LOST_LEASE")
    expect(task.error).to match(/only: the worker stopped sending heartbeats/)
  end
end
