# frozen_string_literal: true

require "spec_helper"
require "time"

RSpec.describe "a handler that fails" do
  # Runs a workflow with one step; afterwards the worker must still work.
  def run_single(**options, &block)
    define_single(**options, &block)
    define_single("after") { |_| "still there" }
    start_stepwell(concurrency: 2)
    task = Stepwell.submit("spec/single").wait(timeout: 30)
    expect(Stepwell.submit("spec/after").wait(timeout: 30).result(:only)).to eq("still there")
    task
  end

  # @return [Array<Hash>] what is recorded of each attempt that did not succeed
  def attempts
    JSON.parse(psql("select coalesce(json_agg(a order by attempt), '[]') from stepwell.step_attempts a"))
  end

  quick = { base: 0.02, cap: 0.1, jitter: 0 }

  it "is tried again, later each time, until it succeeds" do
    task = run_single(max_attempts: 4, backoff: { base: 0.05, cap: 10, jitter: 0 }) do |step|
      step.attempt < 4 ? raise(KeyError, "attempt #{step.attempt}") : step.attempt
    end

    expect(task).to have_attributes(state: :complete, error: nil, results: { "only" => 4 })
    expect(attempts.map { |it| it.values_at("attempt", "kind", "error_class", "message") })
      .to eq([1, 2, 3].map { |n| [n, "retryable", "KeyError", "attempt #{n}"] })
    # The delay doubles: each attempt starts after the one before ended and its delay passed.
    times = attempts.map { |it| Time.parse(it["finished_at"]) }
    expect([times[1] - times[0], times[2] - times[1], task.steps[0].started_at - times[2]])
      .to match([be >= 0.05, be >= 0.1, be >= 0.2])
  end

  it "ends in error when its attempts are used up" do
    task = run_single(max_attempts: 2, backoff: quick) { |step| raise ArgumentError, "no. #{step.attempt}" }

    expect(task).to have_attributes(state: :error, error: "only: no. 2", results: {})
    expect(task.steps[0]).to have_attributes(state: :error, attempt: 2, max_attempts: 2)
    expect(task.steps[0].error).to include("kind" => "retryable", "class" => "ArgumentError", "message" => "no. 2",
                                           "code" => nil)
    expect(attempts.size).to eq(2)
  end

  it "is not tried again after a PermanentError" do
    task = run_single(max_attempts: 5, backoff: quick) do |_|
      raise Stepwell::PermanentError.new("no such customer", code: "NO_CUSTOMER", context: { id: 7, list: [1] })
    end

    expect(task.state).to be(:error)
    expect(executed(task)).to eq(["only"])
    expect(task.steps[0].error).to include("kind" => "permanent", "class" => "Stepwell::PermanentError",
                                           "code" => "NO_CUSTOMER", "context" => { "id" => 7, "list" => [1] })
  end

  it "is not tried again after a subclass of PermanentError, which keeps its name" do
    stub_const("Refusal", Class.new(Stepwell::PermanentError))
    task = run_single(backoff: quick) { |_| raise Refusal, "refused" }

    expect(executed(task)).to eq(["only"])
    expect(task.steps[0].error).to include("kind" => "permanent", "class" => "Refusal", "code" => nil)
  end

  it "waits as long as a RetryableError asks for, and no longer than the cap" do
    started = Queue.new
    task = run_single(max_attempts: 3, backoff: { base: 0.01, cap: 0.5, jitter: 0 }) do |step|
      started << Process.clock_gettime(Process::CLOCK_MONOTONIC)
      raise Stepwell::RetryableError.new("busy", retry_after: [0.3, 3600][step.attempt - 1]) if step.attempt < 3

      "done"
    end

    expect(task.result(:only)).to eq("done") # the hour was capped
    starts = Array.new(3) { started.pop }
    expect([starts[1] - starts[0], starts[2] - starts[1]]).to match([be >= 0.3, be >= 0.5])
    expect(attempts.map { |it| it["error_class"] }).to eq(["Stepwell::RetryableError"] * 2)
  end

  it "may ask for nonsense as a delay: the usual one is taken" do
    lines = logged
    nonsense = [Float::NAN, Float::INFINITY, -5, "soon", Object.new]
    task = run_single(max_attempts: 6, backoff: quick) do |step|
      step.attempt < 6 ? raise(Stepwell::RetryableError.new("busy", retry_after: nonsense[step.attempt - 1])) : "done"
    end

    expect(task.result(:only)).to eq("done")
    expect(attempts.map { |it| it["message"] }).to eq(["busy"] * 5)
    expect(lines.string.scan("is no number of seconds").size).to eq(3) # what is endless or below nothing is a number
  end

  it "has the metadata it noted stored with the attempt" do
    run_single(max_attempts: 2, backoff: quick) do |step|
      step.metadata["http"] = { "status" => 503, "headers" => { "retry-after" => "1" } }
      step.metadata[:attempt] = step.attempt
      raise Stepwell::RetryableError.new("503", code: "HTTP_503", context: { host: "ü" }) if step.attempt == 1

      step.metadata["object"] = Object.new
      raise "twice"
    end

    http = { "status" => 503, "headers" => { "retry-after" => "1" } }
    expect(attempts[0]).to include("code" => "HTTP_503", "context" => { "host" => "ü" },
                                   "metadata" => { "http" => http, "attempt" => 1 })
    expect(attempts[1]["metadata"]).to match("unstorable" => /: a Object at metadata\["object"\] \(give a String, /)
  end

  { "exits" => [-> { exit }, "SystemExit", "exit"],
    "is not implemented" => [-> { raise NotImplementedError, "later" }, "NotImplementedError", "later"],
    "recurses for ever" => [-> { (f = -> { f.call }).call }, "SystemStackError", "stack level too deep"],
    "is interrupted" => [-> { raise Interrupt, "stop" }, "Interrupt", "stop"],
    "throws what nobody catches" => [-> { throw :ball }, "UncaughtThrowError", "uncaught throw :ball"],
    "kills its thread" => [-> { Thread.current.kill }, "ThreadError", "the handler's thread was killed"] }
    .each do |what, (deed, error_class, message)|
      it "that #{what} is tried again, and the worker lives on" do
        task = run_single(max_attempts: 2, backoff: quick) { |_| deed.call }

        expect(task.state).to be(:error)
        expect(task.steps[0].error).to include("kind" => "retryable", "class" => error_class, "message" => message)
        expect(task.steps[0].attempt).to eq(2)
        expect(attempts.map { |it| it["error_class"] }).to eq([error_class] * 2)
      end
    end

  it "keeps all its threads when every one of them is killed" do
    define_single("killer", max_attempts: 1) { |_| Thread.current.kill }
    gate = Queue.new
    define_single { |_| gate.pop }
    start_stepwell(concurrency: 3)
    killers = Stepwell.submit_all([{ workflow: "spec/killer" }] * 9)
    Stepwell.wait_all(killers, timeout: 30)
    tasks = Stepwell.submit_all([{ workflow: "spec/single" }] * 3)
    eventually { gate.num_waiting == 3 }
    3.times { gate << 1 }

    expect(Stepwell.wait_all(tasks, timeout: 30).map(&:state)).to all(be(:complete))
    expect(killers.map(&:state)).to all(be(:error))
  end
end
