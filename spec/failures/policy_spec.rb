# frozen_string_literal: true

require "spec_helper"

module Specs
  # Raises what the step's configuration names. For the YAML files of these examples.
  class Raiser < Stepwell::StepHandler
    def call(step)
      raise Object.const_get(step.config["raises"])
    end
  end
end

RSpec.describe "the policy of a step" do
  later = { base: 3600, cap: 3600 }

  # Runs a workflow with a step for each of these deeds, all with the same policy, until each has failed once.
  # @return [Array<Symbol>] the states of the steps then
  def states_after(*deeds, backoff: { base: 3600, cap: 3600 }, **policy)
    handlers = deeds.map { |deed| handler { |_| deed.call } }
    Stepwell.workflow("spec/policy") do
      handlers.each_with_index { |code, n| step("s#{n}", code, backoff: backoff, max_attempts: 2, **policy) }
    end
    start_stepwell
    failed_once(Stepwell.submit("spec/policy")).map(&:state)
  end

  def failed_once(task)
    eventually { task.refresh.steps.any? && task.steps.all? { |step| step.attempts.size == 1 } }
    task.steps
  end

  # Does what raises this.
  def raising(...)
    -> { raise(...) }
  end

  def refusal(code)
    Stepwell::PermanentError.new("no", code: code)
  end

  def trouble(code)
    Stepwell::RetryableError.new("busy", code: code)
  end

  it "makes errors of a class permanent, and of those that descend from it" do
    stub_const("Mine", Class.new(ArgumentError))
    expect(states_after(raising(ArgumentError), raising(Mine), raising(UncaughtThrowError.new(:a, 1, "")),
                        raising(KeyError), raising(StandardError), permanent_errors: ArgumentError))
      .to eq(%i[error error error waiting_for_retry waiting_for_retry])
  end

  it "makes errors of a class retryable, also permanent ones" do
    stub_const("Refusal", Class.new(Stepwell::PermanentError))
    stub_const("Soft", Class.new(Refusal))
    expect(states_after(raising(Refusal), raising(Soft), raising(Stepwell::PermanentError), retryable_errors: Refusal))
      .to eq(%i[waiting_for_retry waiting_for_retry error])
  end

  it "names modules: of the class, of one above it, of the error itself" do
    stub_const("Final", Module.new)
    stub_const("Mine", Class.new(StandardError) { include Final })
    stub_const("Below", Class.new(Mine))
    expect(states_after(raising(Mine), raising(Below), raising(IOError.new.extend(Final)), raising(IOError),
                        permanent_errors: Final)).to eq(%i[error error error waiting_for_retry])
  end

  it "takes in every error by Exception, also those that are no StandardError" do
    expect(states_after(raising(NotImplementedError), raising(Stepwell::RetryableError), -> { exit },
                        -> { Thread.current.kill }, permanent_errors: Exception)).to eq(%i[error] * 4)
  end

  it "names codes, of whatever class the error is" do
    stub_const("Coded", Class.new(IOError) { define_method(:code) { :DECLINED } })
    expect(states_after(raising(trouble("DECLINED")), raising(Coded), raising(trouble("declined")),
                        raising(refusal("LATER")), raising(refusal("NEVER")),
                        permanent_errors: %w[DECLINED OTHER], retryable_errors: "LATER"))
      .to eq(%i[error error waiting_for_retry waiting_for_retry error])
  end

  it "goes by the code before the class, and by the nearest class" do
    stub_const("Slow", Class.new(IOError))
    expect(states_after(raising(refusal("LATER")), raising(trouble("NEVER")), # the code
                        raising(EOFError), raising(Slow), raising(IOError), raising(KeyError), # the nearest class
                        permanent_errors: ["NEVER", StandardError, EOFError, Stepwell::PermanentError],
                        retryable_errors: ["LATER", IOError, Stepwell::RetryableError]))
      .to eq(%i[waiting_for_retry error error waiting_for_retry waiting_for_retry error])
  end

  it "can make a timeout final, by its class or one above it" do
    gate = Queue.new
    task = [Timeout::Error, StandardError].each_with_index.map do |error, n|
      define_single("late#{n}", timeout: 0.05, backoff: later, permanent_errors: error) { |_| gate.pop }
    end
    start_stepwell
    steps = task.map { |workflow| Stepwell.submit(workflow).wait(timeout: 20).steps.first }

    expect(steps.map(&:state)).to eq(%i[error error])
    expect(steps.map { |step| step.error["kind"] }).to eq(%w[permanent permanent])
  end

  it "keeps the error as it was; only its kind is the policy's" do
    define_single(permanent_errors: KeyError) { |_| { a: 1 }.fetch(:b) }
    start_stepwell
    expect(Stepwell.submit("spec/single").wait(timeout: 20).steps.first.error)
      .to include("kind" => "permanent", "class" => "KeyError", "message" => "key not found: :b")
  end

  it "can stand in a YAML file, as one name or as a list" do
    steps = [{ permanent_errors: "IOError", config: { raises: "EOFError" } },
             { permanent_errors: %w[A StandardError], retryable_errors: ["IOError"], config: { raises: "EOFError" } },
             { retryable_errors: "Stepwell::PermanentError", config: { raises: "Stepwell::PermanentError" } }]
    steps = steps.each_with_index.map do |step, n|
      { name: "s#{n}", handler: "Specs::Raiser", backoff: { base: "1h", cap: "1h" }, **step }
    end
    yaml = JSON.generate({ namespace: "spec", name: "from_file", version: "1", steps: steps }) # JSON is YAML too
    File.write(File.join(folder, "a.yml"), yaml)
    Stepwell.load_workflows(folder)
    start_stepwell

    expect(failed_once(Stepwell.submit("spec/from_file")).map(&:state))
      .to eq(%i[error waiting_for_retry waiting_for_retry])
  end

  it "is refused when it contradicts itself, or names what is no error" do
    { { permanent_errors: [KeyError, "A"], retryable_errors: "KeyError" } =>
        'steps.only.retryable_errors: "KeyError" is in permanent_errors too',
      { permanent_errors: Class.new(StandardError) } => "> is no error: give a class that has a name, or the text",
      { retryable_errors: [nil] } => "step only: nil is no error",
      { retryable_errors: [:code] } => "step only: :code is no error: give a class that has a name, or the text of a",
      { permanent_errors: [""] } => "steps.only.permanent_errors: each must be the code or the class of an error, 1 to",
      { retryable_errors: "x" * 256 } => "steps.only.retryable_errors: each must be the code or the class of an error",
      { permanent_errors: Array.new(101, &:to_s) } => "steps.only.permanent_errors: at most 100 names, not 101" }
      .each do |policy, message|
        expect { define_single(**policy) { |_| 1 } }.to raise_error(Stepwell::ValidationError, include(message))
      end
  end
end
