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

  it "fails with its class, and its slot comes back" do
    gate = Queue.new
    define_single(max_attempts: 1) { |step| gate.pop && step.context["raise"] ? raise(KeyError, "lost") : { "a" => 1 } }
    worker
    broken = Queue.new
    allow(Stepwell::JsonValue).to receive(:write).and_wrap_original do |write, *arguments|
      broken.empty? ? write.call(*arguments) : raise("patched")
    end
    tasks = [nil, "raise"].map { |how| Stepwell.submit("spec/single", { "raise" => how }) }
    broken << true
    2.times { gate << true }
    returned, raised = tasks.map { |task| task.wait(timeout: 30) }
    broken.clear

    text = "what became of the attempt cannot be made JSON"
    expect(returned.steps[0].error).to include("class" => "RuntimeError", "kind" => "retryable", "message" => text)
    expect(raised.steps[0].error).to include("class" => "KeyError", "message" => text)
    expect_slots
  end

  it "and a thread that gets no step logs it, and goes on after a pause" do
    failures = 2
    allow(Stepwell::Native::Worker).to receive(:start).and_wrap_original do |start, *arguments|
      start.call(*arguments).tap do |native|
        allow(native).to receive(:take).and_wrap_original do |take|
          raise IOError, "no step for you" if (failures -= 1) >= 0

          take.call
        end
      end
    end
    lines = StringIO.new
    Stepwell.logger = Logger.new(lines)
    worker
    expect_slots
    expect(lines.string.scan(/a thread gets no step, it tries again .*no step for you/).size).to eq(2)
  ensure
    Stepwell.logger = nil
  end
end
