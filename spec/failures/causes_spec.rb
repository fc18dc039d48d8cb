# frozen_string_literal: true

require_relative "../cli/support"

RSpec.describe "what an exception was raised for" do
  include Specs::CommandLine

  def error_of(&block)
    define_single(max_attempts: 1, &block)
    start_stepwell
    @task = Stepwell.submit("spec/single").wait(timeout: 30)
    @task.steps[0].error
  end

  # Raises one for another, the last of them at the top.
  def nest(errors)
    errors.inject(nil) do |cause, error|
      raise error, cause: cause
    rescue StandardError => e
      e
    end
  end

  it "stands with the attempt, with class, message and the first lines of its backtrace, without secrets" do
    error = error_of do |_|
      Integer("x")
    rescue ArgumentError
      begin
        raise KeyError, "postgres://app:hunter2@db/shop"
      rescue KeyError
        raise "outer"
      end
    end
    expect(error).to include("class" => "RuntimeError", "message" => "outer")
    expect(error["causes"].map { |cause| cause["class"] }).to eq(%w[KeyError ArgumentError])
    expect(error["causes"][0]["message"]).to start_with("postgres://")
    expect(error.to_s).not_to include("hunter2")
    expect(error["causes"][1]["message"]).to eq('invalid value for Integer(): "x"')
    expect(error["causes"].map { |cause| cause["backtrace"].size }).to all(be_between(1, 5))
    expect(error["causes"][0]["backtrace"][0]).to include(__FILE__)
    expect(@task.steps[0].attempts.last["causes"]).to eq(error["causes"])
    expect(psql("select jsonb_array_length(causes) from stepwell.step_attempts")).to eq("2")
  end

  it "is seen on the command line, in its JSON too" do
    error_of { |_| raise nest([ArgumentError.new("inner"), RuntimeError.new("outer")]) }
    expect(stepwell("task", "show", @task.id).out)
      .to include("RuntimeError outer").and include("caused by ArgumentError inner")
    causes = stepwell("task", "show", @task.id, "--json").json["steps"][0]["attempts"][0]["causes"]
    expect(causes).to match([include("class" => "ArgumentError", "message" => "inner")])
  end

  it "is five at most, and ends where it comes to itself again" do
    many = nest(Array.new(9) { |n| RuntimeError.new("number #{n}") })
    expect(error_of { |_| raise many }["causes"].map { |cause| cause["message"] })
      .to eq(%w[7 6 5 4 3].map { |n| "number #{n}" })
    one = RuntimeError.new("one")
    other = RuntimeError.new("other")
    { one => other, other => one }.each { |error, cause| error.define_singleton_method(:cause) { cause } }
    define_single("circle", max_attempts: 1) { |_| raise one }
    causes = Stepwell.submit("spec/circle").wait(timeout: 30).steps[0].error["causes"]
    expect(causes.map { |cause| cause["message"] }).to eq(["other"])
  end

  it "is nothing where there is none, or where it cannot be read" do
    expect(error_of { |_| raise "alone" }["causes"]).to be_nil
    liar = RuntimeError.new("liar")
    liar.define_singleton_method(:cause) { raise "none of your business" }
    define_single("liar", max_attempts: 1) { |_| raise liar }
    error = Stepwell.submit("spec/liar").wait(timeout: 30).steps[0].error
    expect(error).to include("message" => "liar", "causes" => nil)
  end

  it "is Ruby's cause where a class has one of its own that is no exception" do
    own = Class.new(StandardError) { define_method(:cause) { "because" } }
    stub_const("Own", own)
    error = error_of do |_|
      raise KeyError, "inner"
    rescue KeyError
      raise Own, "outer"
    end
    expect(error["causes"].map { |cause| cause.values_at("class", "message") }).to eq([%w[KeyError inner]])
  end

  it "is told as far as it can be read" do
    inner = nest([ArgumentError.new("first"), KeyError.new("second")])
    inner.define_singleton_method(:backtrace) { raise NotImplementedError }
    causes = error_of { |_| raise nest([inner, RuntimeError.new("third")]) }["causes"]
    expect(causes.map { |cause| cause["message"] }).to eq(%w[second first])
    expect(causes[0]["backtrace"]).to include(/#{__FILE__}/)
  end
end
