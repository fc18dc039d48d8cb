# frozen_string_literal: true

require "fiddle"
require "spec_helper"

RSpec.describe "time" do
  describe "limits an attempt" do
    it "that is ended as a timeout and tried again" do
      gate = Queue.new
      define_single(timeout: 0.2, max_attempts: 3, backoff: { base: 0.01, cap: 0.01 }) do |step|
        step.attempt == 1 ? gate.pop : "in time"
      end
      start_stepwell
      task = Stepwell.submit("spec/single").wait(timeout: 30)

      expect(task).to have_attributes(state: :complete, results: { "only" => "in time" })
      expect(psql("select attempt, kind, error_class, message from stepwell.step_attempts"))
        .to eq("1|timeout|Timeout::Error|the attempt took longer than 0.2 s")
    end

    it "also when the handler rescues StandardError, and its ensure runs" do
      ensured = Queue.new
      gate = Queue.new
      define_single(timeout: 0.1, max_attempts: 1) do |_|
        gate.pop
      rescue StandardError
        "rescued"
      ensure
        ensured << true
      end
      start_stepwell
      task = Stepwell.submit("spec/single").wait(timeout: 30)

      expect(task.steps[0].error).to include("kind" => "timeout")
      expect(ensured.pop).to be(true)
    end

    it "that ends in error when it was the last" do
      gate = Queue.new
      define_single(timeout: 0.05, max_attempts: 2, backoff: { base: 0.01, cap: 0.01 }) { |_| gate.pop }
      define_single("after") { |_| 1 }
      start_stepwell(concurrency: 1)
      task = Stepwell.submit("spec/single").wait(timeout: 30)

      expect(task).to have_attributes(state: :error, error: "only: the attempt took longer than 0.05 s")
      expect(Stepwell.submit("spec/after").wait(timeout: 30).state).to be(:complete)
    end
  end

  # One call into C that holds Ruby's lock, as a long sort or a slow extension does.
  def hold_the_lock(seconds)
    Fiddle::Function.new(Fiddle.dlopen(nil)["usleep"], [Fiddle::TYPE_INT], Fiddle::TYPE_INT, need_gvl: true)
                    .call((seconds * 1_000_000).to_i)
  end

  it "does not cost a handler its lease that holds Ruby's lock for three of them" do
    ticks = Queue.new
    define_single do |_|
      before = ticks.size
      hold_the_lock(3)
      ticks.size - before
    end
    Stepwell.configure { |c| c.lease = 1 }
    start_orchestrator
    start_worker
    Stepwell.configure { |c| c.lease = nil }
    ticker = Thread.new { loop { ticks << IO.select(nil, nil, nil, 0.01) } }
    task = Stepwell.submit("spec/single").wait(timeout: 30)
    ticker.kill.join

    expect(task.state).to be(:complete)
    expect(task.result(:only)).to be <= 2 # no other Ruby thread ran: the lock was held
    expect(task.steps[0]).to have_attributes(attempt: 1)
    expect(task.steps[0].finished_at - task.steps[0].started_at).to be >= 3
    expect(executed(task)).to eq(["only"])
    expect(psql("select count(*) from stepwell.step_attempts")).to eq("0")
  end
end
