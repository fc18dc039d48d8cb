# frozen_string_literal: true

require "spec_helper"

RSpec.describe Stepwell::Task do
  it "is found by its id, from this process and from another" do
    define_single { |step| step.context["n"] + 1 }
    start_stepwell
    task = Stepwell.submit("spec/single", { n: 1 }).wait(timeout: 10)
    other = run_ruby("puts Stepwell.task('#{task.id}').then { |it| [it.state, it.result(:only)].inspect }")

    expect(Stepwell.task(task.id)).to have_attributes(id: task.id, state: :complete, results: { "only" => 2 })
    expect(other.gets).to eq("[:complete, 2]")
    expect(other.wait).to be_success
  end

  it "says that there is none of an unknown id, and that a text is no id" do
    start_orchestrator
    id = "0190b5a0-0000-7000-8000-000000000000"
    expect { Stepwell.task(id) }.to raise_error(Stepwell::ValidationError, "there is no task #{id}")
    expect { Stepwell.task("42") }.to raise_error(Stepwell::ValidationError, '"42" is not the id of a task: a uuid')
    missing = described_class.new(Stepwell.connection, id)
    expect { missing.wait(timeout: 5) }.to raise_error(Stepwell::ValidationError, "there is no task #{id}")
    expect { missing.cancel }.to raise_error(Stepwell::ValidationError, "there is no task #{id}")
    expect { missing.retry }.to raise_error(Stepwell::ValidationError, "there is no task #{id}")
  end

  it "is pending in the queue, and shows what it was submitted with before anybody has taken it up" do
    define_single { |step| step.context["n"] }
    orchestrator = start_orchestrator
    orchestrator.stop
    Stepwell.configure { |c| c.database_url = database_url }
    task = Stepwell.submit("spec/single", { n: 1 }, priority: 3, idempotency_key: "k", correlation_id: "c").refresh

    expect(task).to have_attributes(state: :pending, finished?: false, workflow: "spec/single", priority: 3,
                                    context: { "n" => 1 }, idempotency_key: "k", correlation_id: "c",
                                    steps: [], results: {}, finished_at: nil, error: nil)
    expect(task.created_at).to be_within(60).of(Time.now)
    expect(task.inspect).to eq("#<Stepwell::Task #{task.id} spec/single pending>")
  end

  it "stays as it was read until it is refreshed" do
    gate = Queue.new
    define_single { |_| gate.pop }
    start_stepwell
    task = Stepwell.submit("spec/single")
    eventually { task.refresh.state == :in_progress && task.steps.first&.state == :in_progress }
    gate << "done"
    Stepwell.task(task.id).wait(timeout: 10)

    expect(task).to have_attributes(state: :in_progress, results: {})
    expect(task.refresh).to be(task)
    expect(task).to have_attributes(state: :complete, results: { "only" => "done" })
  end

  it "names its steps when it is asked for one that it does not have" do
    define_single { |_| nil }
    start_stepwell
    task = Stepwell.submit("spec/single").wait(timeout: 10)

    expect { task.result(:other) }
      .to raise_error(Stepwell::ValidationError, "task #{task.id} has no step other; it has only")
    expect(task.results).to eq("only" => nil)
  end

  it "tells all about its steps" do
    fail_once = handler { |step| step.attempt == 1 ? raise(KeyError, "not yet") : "b" }
    first = handler { |_| [1] }
    never = handler { |_| raise Stepwell::PermanentError.new("no", code: "NO", context: { why: 1 }) }
    Stepwell.workflow("spec/steps") do
      step :first, first
      step :second, fail_once, depends_on: :first, backoff: { base: 0.01 }, max_attempts: 4
      step :third, never, depends_on: %w[first second]
      step :fourth, never, depends_on: :third
    end
    start_orchestrator
    worker = start_worker
    task = Stepwell.submit("spec/steps").wait(timeout: 10)

    first, second, third, fourth = task.steps
    expect(task.steps).to all(be_frozen)
    expect(first).to have_attributes(name: "first", state: :complete, attempt: 1, max_attempts: 3, depends_on: [],
                                     result: [1], error: nil, worker: worker.id)
    expect(second).to have_attributes(state: :complete, attempt: 2, max_attempts: 4, depends_on: ["first"], error: nil)
    expect(third).to have_attributes(state: :error, attempt: 1, depends_on: %w[first second], result: nil)
    expect(third.error).to include("kind" => "permanent", "class" => "Stepwell::PermanentError", "code" => "NO",
                                   "message" => "no", "context" => { "why" => 1 })
    expect(third.error["backtrace"].first).to include(__FILE__)
    expect(fourth).to have_attributes(state: :pending, attempt: 0, started_at: nil, finished_at: nil, worker: nil)
    expect(task.error).to eq("third: no")
    expect([task.created_at, first.started_at, first.finished_at, third.finished_at, task.finished_at])
      .to eq([task.created_at, first.started_at, first.finished_at, third.finished_at, task.finished_at].sort)
  end

  it "gives handlers their context, dependencies and configuration" do
    source = handler { |step| { "symbols" => :become_strings, "n" => step.context["n"] } }
    sink = handler { |step| [step.context, step.results, step.config, step.attempt, step.max_attempts] }
    Stepwell.workflow("spec/inputs") do
      step :unrelated, source
      step :source, source
      step :sink, sink, depends_on: [:source], config: { deep: { list: [1, nil] } }, max_attempts: 2
    end
    start_stepwell
    task = Stepwell.submit("spec/inputs", { n: 2**70 }).wait(timeout: 10)

    expect(task.result(:sink)).to eq([{ "n" => 2**70 }, { "source" => { "symbols" => "become_strings", "n" => 2**70 } },
                                      { "deep" => { "list" => [1, nil] } }, 1, 2])
  end
end
