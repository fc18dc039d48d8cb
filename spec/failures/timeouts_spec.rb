# frozen_string_literal: true

require "spec_helper"

RSpec.describe "the timeout of a step" do
  quick = { base: 0.01, cap: 0.01 }
  let(:gate) { Queue.new }

  it "ends an attempt in the middle of a wait, and the step is tried again" do
    define_single(timeout: 0.2, max_attempts: 3, backoff: quick) { |step| step.attempt == 1 ? gate.pop : "in time" }
    start_stepwell
    task = Stepwell.submit("spec/single").wait(timeout: 30)

    expect(task).to have_attributes(state: :complete, results: { "only" => "in time" })
    expect(task.steps.first.attempts)
      .to match([include("attempt" => 1, "kind" => "timeout", "class" => "Timeout::Error",
                         "message" => "the attempt took longer than 0.2 s", "backtrace" => include(/#{__FILE__}/))])
    times = task.steps.first.attempts.first.values_at("started_at", "finished_at")
    expect(times[1] - times[0]).to be >= 0.2
  end

  it "ends also an attempt whose handler rescues StandardError, and its ensure runs" do
    ensured = Queue.new
    gate = self.gate
    define_single(timeout: 0.1, max_attempts: 1) do |_|
      gate.pop
    rescue StandardError
      "rescued"
    ensure
      ensured << true
    end
    start_stepwell
    task = Stepwell.submit("spec/single").wait(timeout: 30)

    expect(task.steps.first.error).to include("kind" => "timeout")
    expect(ensured.pop).to be(true)
  end

  it "ends an attempt also when its handler rescues the interruption and returns, or raises something else" do
    gate = self.gate
    define_single("returns", timeout: 0.1, max_attempts: 1) do |_|
      gate.pop
    rescue Exception # rubocop:disable Lint/RescueException -- that is what this is about
      "done"
    end
    define_single("raises", timeout: 0.1, max_attempts: 1) do |_|
      gate.pop
    rescue Exception # rubocop:disable Lint/RescueException -- that is what this is about
      raise Stepwell::PermanentError, "my own"
    end
    define_single("late", timeout: 0.1, max_attempts: 1) do |_|
      Thread.handle_interrupt(Exception => :never) { IO.select(nil, nil, nil, 0.2) } && "done"
    end
    start_stepwell
    returns, raises, late = %w[returns raises late].map { |name| Stepwell.submit("spec/#{name}").wait(timeout: 30) }

    over = { "kind" => "timeout", "class" => "Timeout::Error", "message" => "the attempt took longer than 0.1 s" }
    expect([returns, raises, late].map { |task| task.steps.first.error }).to all(include(over))
    expect(raises.steps.first.error["causes"].first)
      .to include("class" => "Stepwell::PermanentError", "message" => "my own")
  end

  it "ends an attempt also when its handler ends its own thread then" do
    gate = self.gate
    define_single(timeout: 0.1, max_attempts: 1) do |_|
      gate.pop
    rescue Exception # rubocop:disable Lint/RescueException -- that is what this is about
      Thread.exit
    end
    define_single("after") { |_| 1 }
    start_stepwell(concurrency: 1)
    expect(Stepwell.submit("spec/single").wait(timeout: 30).steps.first.error)
      .to include("kind" => "timeout", "class" => "Timeout::Error", "message" => "the attempt took longer than 0.1 s")
    expect(Stepwell.submit("spec/after").wait(timeout: 30).state).to be(:complete)
  end

  it "ends an attempt whatever its handler returns from an ensure, or of another thread" do
    gate = self.gate
    define_single("ensure", timeout: 0.1, max_attempts: 1) { |_| ends_with_ensure(gate) }
    define_single("thread", timeout: 0.1, max_attempts: 1) do |_|
      Thread.new { gate.pop }.value
    rescue Exception # rubocop:disable Lint/RescueException -- that is what this is about
      "of another thread"
    end
    define_single("nested", timeout: 0.1, max_attempts: 1) do |_|
      Timeout.timeout(30) { gate.pop }
    rescue Exception # rubocop:disable Lint/RescueException -- that is what this is about
      "nested"
    end
    start_stepwell
    tasks = %w[ensure thread nested].map { |name| Stepwell.submit("spec/#{name}") }
    errors = Stepwell.wait_all(tasks, timeout: 30).map { |task| task.steps.first.error }
    expect(errors).to all(include("kind" => "timeout", "message" => "the attempt took longer than 0.1 s"))
  end

  def ends_with_ensure(gate)
    gate.pop
  ensure
    return "done" # rubocop:disable Lint/EnsureReturn -- that is what this is about
  end

  it "ends the step in error with its last attempt" do
    define_single(timeout: 0.05, max_attempts: 2, backoff: quick) { |_| gate.pop }
    define_single("after") { |_| 1 }
    start_stepwell(concurrency: 1)
    task = Stepwell.submit("spec/single").wait(timeout: 30)

    expect(task).to have_attributes(state: :error, error: "only: the attempt took longer than 0.05 s")
    expect(Stepwell.submit("spec/after").wait(timeout: 30).state).to be(:complete)
  end

  it "is no matter for a handler that ends in time, with whatever it does" do
    define_single(timeout: 30, max_attempts: 1) { |_| Timeout.timeout(0.01) { gate.pop } }
    start_stepwell
    expect(Stepwell.submit("spec/single").wait(timeout: 30).steps.first.error)
      .to include("kind" => "retryable", "class" => "Timeout::Error", "message" => "execution expired")
  end
end
