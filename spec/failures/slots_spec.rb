# frozen_string_literal: true

require "spec_helper"

# Between the end of a handler and its report stands code of the application: JSON that was patched, exceptions with
# methods of their own. Nothing there may cost the worker a slot.
RSpec.describe "an attempt of which nothing can be told" do
  def expect_slots
    define_single("after") { |_| 1 }
    expect(Stepwell.submit("spec/after").wait(timeout: 30).state).to be(:complete)
    expect(worker.stop(timeout: 10)).to be(true)
  end

  let(:worker) { start_stepwell(concurrency: 1) }

  # What the native worker does when this is called instead.
  def wrap(name, &wrapped)
    allow(Stepwell::Native::Worker).to receive(:start).and_wrap_original do |start, *arguments|
      start.call(*arguments).tap { |native| allow(native).to receive(name).and_wrap_original(&wrapped) }
    end
  end

  def logged_by_worker
    lines = StringIO.new
    Stepwell.logger = Logger.new(lines)
    yield
    lines.string
  ensure
    Stepwell.logger = nil
  end

  it "fails with what can be said where JSON is patched and raises, and its slot comes back" do
    gate = Queue.new
    define_single(max_attempts: 1) do |step|
      gate.pop
      step.metadata["a"] = 1
      { "raise" => -> { raise KeyError, "lost \"\\\n\u0000" }, "exit" => -> { Thread.exit } }[step.context["how"]]&.call
    end
    worker
    broken = Queue.new
    allow(Stepwell::JsonValue).to receive(:write).and_wrap_original do |write, *arguments|
      broken.empty? ? write.call(*arguments) : raise("patched")
    end
    tasks = [nil, "raise", "exit"].map { |how| Stepwell.submit("spec/single", { "how" => how }) }
    broken << true
    3.times { gate << true }
    errors = tasks.map { |task| task.wait(timeout: 30).steps[0].error }
    broken.clear

    expect(errors.map { |error| error.values_at("class", "kind", "message") })
      .to eq([%w[RuntimeError retryable patched], ["KeyError", "retryable", "lost \"\\\n\u{FFFD}"],
              ["ThreadError", "retryable", "the handler's thread was killed"]])
    expect(errors[1]).to include("metadata" => { "unstorable" => "RuntimeError: patched" })
    expect(errors[1]["backtrace"]).to include(/#{__FILE__}/)
    expect_slots
  end

  it "fails with what can be said where JSON is patched and makes none, and its slot comes back" do
    define_single(max_attempts: 1) do |step|
      allow(Stepwell::JsonValue).to receive(:write).and_return("no json")
      step.metadata["a"] = 1
      raise KeyError, "lost"
    end
    worker
    error = Stepwell.submit("spec/single").wait(timeout: 30).steps[0].error
    allow(Stepwell::JsonValue).to receive(:write).and_call_original
    expect(error).to include("class" => "KeyError", "message" => "lost", "metadata" => nil)
    expect_slots
  end

  it "is complete where an exception reaches its thread as the result has been handed in" do
    raised = 0
    wrap(:complete) { |complete, *given| complete.call(*given).tap { raise IOError if (raised += 1) == 1 } }
    define_single { |_| "done" }
    worker
    expect(Stepwell.submit("spec/single").wait(timeout: 30).result(:only)).to eq("done")
    expect_slots
  end

  it "begins where an exception reaches its thread as it has been taken" do
    taken = 0
    wrap(:take) { |take, held| take.call(held).tap { raise IOError, "late" if (taken += 1) == 1 } }
    define_single(&:attempt)
    log = logged_by_worker do
      worker
      expect(Stepwell.submit("spec/single").wait(timeout: 30).result(:only)).to eq(1)
      expect_slots
    end
    expect(log).to match(/a thread gets no step, it tries again .*late/)
  end

  it "has its end, and its place goes to another, where an exception reaches its thread as that ends" do
    reached = 0
    wrap(:fail) do |fail, *given|
      Thread.current.raise(IOError, "late") if (reached += 1) == 1
      fail.call(*given)
    end
    define_single(max_attempts: 1) { |_| Thread.exit }
    log = logged_by_worker do
      worker
      expect(Stepwell.submit("spec/single").wait(timeout: 30).steps[0].error).to include("class" => "ThreadError")
      expect_slots
    end
    expect(log).to match(/a thread has ended with an error .*late/)
  end

  [IOError, NotImplementedError].each do |error|
    it "and a thread that gets no step for a #{error} logs it, and goes on after a pause that grows" do
      failures = 2
      wrap(:take) { |take, held| (failures -= 1) >= 0 ? raise(error, "no step for you") : take.call(held) }
      log = logged_by_worker do
        worker
        expect_slots
      end
      expect(log.scan(/a thread gets no step, it tries again pause=(\S+) error=#{error} message="?no step for you/))
        .to eq([["0.1"], ["0.2"]])
    end
  end

  it "and a supervisor that cannot look for hung handlers logs it, and goes on" do
    failures = 1
    wrap(:next_hung) { |next_hung| (failures -= 1) >= 0 ? raise(NotImplementedError, "blind") : next_hung.call }
    gate = Queue.new
    define_single(timeout: 0.1, max_attempts: 1) { |_| Thread.handle_interrupt(Object => :never) { gate.pop } }
    log = logged_by_worker do
      with_variables("STEPWELL__WORKER__TIMEOUT_GRACE" => "100ms") { worker }
      expect(Stepwell.submit("spec/single").wait(timeout: 30).steps[0].error).to include("kind" => "timeout")
      define_single("after") { |_| 1 }
      expect(Stepwell.submit("spec/after").wait(timeout: 30).state).to be(:complete)
      gate << true
      expect(worker.stop(timeout: 10)).to be(true)
    end
    expect(log).to match(/hung handlers cannot be looked for, it is tried again .*blind/)
  end
end
