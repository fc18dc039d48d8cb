# frozen_string_literal: true

require "spec_helper"

RSpec.describe "an idempotency key" do
  before { define_single { |step| step.context["n"] } }

  def count_tasks
    psql("select count(*) from stepwell.tasks")
  end

  it "settles on the first task, before and after it has finished" do
    start_stepwell
    first = Stepwell.submit("spec/single", { n: 1 }, idempotency_key: "order-42")
    again = Stepwell.submit("spec/single", { n: 2 }, idempotency_key: "order-42")
    first.wait(timeout: 10)
    late = Stepwell.submit("spec/single", { n: 3 }, idempotency_key: "order-42")

    expect([again.id, late.id]).to all(eq(first.id))
    expect(late.wait(timeout: 10).result(:only)).to eq(1)
    expect(count_tasks).to eq("1")
  end

  it "belongs to its workflow, and holds within one list" do
    define_single("other", &:context)
    start_stepwell
    requests = %w[spec/single spec/other spec/single].map { |name| { workflow: name, idempotency_key: "k" } }
    tasks = Stepwell.wait_all(Stepwell.submit_all(requests), timeout: 10)

    expect(tasks[0].id).to eq(tasks[2].id)
    expect(tasks[1].id).not_to eq(tasks[0].id)
    expect(count_tasks).to eq("2")
  end

  it "must be a text of 1 to 255 characters" do
    start_orchestrator
    ["", "x" * 256].each do |key|
      expect { Stepwell.submit("spec/single", {}, idempotency_key: key) }
        .to raise_error(Stepwell::ValidationError, /idempotency_key: must be a text of 1 to 255 characters/)
    end
  end

  it "makes one task of many when threads race" do
    start_stepwell
    start = Queue.new
    threads = Array.new(8) do |n|
      Thread.new do
        start.pop
        Array.new(20) { |key| Stepwell.submit("spec/single", { n: n }, idempotency_key: "k#{key}").id }
      end
    end
    8.times { start << true }
    ids = threads.map(&:value)

    expect(ids.uniq.size).to eq(1)
    expect(ids.first.uniq.size).to eq(20)
    Stepwell.wait_all(ids.first.map { |id| Stepwell.task(id) }, timeout: 10)
    expect(count_tasks).to eq("20")
    expect(Specs::Steps.executed.size).to eq(20)
  end

  it "makes one task of many when processes race" do
    start_stepwell
    script = <<~RUBY
      puts "ready"
      $stdin.gets
      puts Array.new(50) { |key| Stepwell.submit("spec/single", {}, idempotency_key: "k\#{key}").id }.join(" ")
    RUBY
    processes = Array.new(2) { run_ruby(script) }
    processes.each { |process| expect(process.gets).to eq("ready") }
    processes.each { |process| process.puts("go") }
    ids = processes.map { |process| process.gets.split }
    processes.each { |process| expect(process.wait).to be_success }

    expect(ids[0]).to eq(ids[1])
    expect(ids[0].uniq.size).to eq(50)
    Stepwell.wait_all(ids[0].map { |id| Stepwell.task(id) }, timeout: 10)
    expect(count_tasks).to eq("50")
  end
end
