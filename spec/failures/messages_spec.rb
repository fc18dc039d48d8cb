# frozen_string_literal: true

require "spec_helper"

RSpec.describe "an exception that cannot be stored as it is" do
  def failure_of(attempts: 1, &block)
    define_single(max_attempts: attempts, backoff: { base: 0.01, cap: 0.01 }, &block)
    start_stepwell
    task = Stepwell.submit("spec/single").wait(timeout: 30)
    expect(task.state).to be(:error)
    expect(task.steps[0].attempt).to eq(attempts)
    task.steps[0].error
  end

  it "with NUL in its message keeps its kind, class and code" do
    error = failure_of(attempts: 2) { |_| raise Stepwell::RetryableError.new("a\u0000b", code: "C\u0000D") }
    expect(error).to include("kind" => "retryable", "class" => "Stepwell::RetryableError", "message" => "a\u{FFFD}b",
                             "code" => "C\u{FFFD}D")
  end

  it "with NUL in its context or metadata keeps kind and message, without them" do
    error = failure_of do |step|
      step.metadata["m"] = "\u0000"
      raise Stepwell::PermanentError.new("gone", code: "GONE", context: { c: "\u0000" })
    end
    expect(error).to include("kind" => "permanent", "message" => "gone", "code" => "GONE", "class" =>
                             "Stepwell::PermanentError")
    expect(error.values_at("context", "metadata").compact.to_s).not_to include("\u0000")
  end

  it "with a message that is not UTF-8 has what can be read of it" do
    expect(failure_of { |_| raise IOError, "caf\xE9 \xFF".b })
      .to include("class" => "IOError", "message" => /\Acaf.+ .+\z/)
  end

  it "with a message in another encoding is converted" do
    expect(failure_of { |_| raise IOError, "Straße".encode("ISO-8859-1") }).to include("message" => "Straße")
  end

  it "with broken UTF-8 is mended" do
    expect(failure_of { |_| raise IOError, "a\xFFb" }).to include("message" => "a\u{FFFD}b")
  end

  it "whose message raises says so" do
    stub_const("Mean", Class.new(StandardError) { define_method(:message) { raise KeyError, "ha" } })
    expect(failure_of { |_| raise Mean }).to include("class" => "Mean", "kind" => "retryable", "message" =>
                                                     "the message of the Mean is not available (KeyError)")
  end

  it "whose message recurses for ever says so" do
    stub_const("Mean", Class.new(StandardError) { define_method(:message) { message } })
    expect(failure_of { |_| raise Mean })
      .to include("class" => "Mean", "message" => /not available \(SystemStackError\)/)
  end

  it "that lies about itself is told as far as it can be" do
    stub_const("Mean", Class.new(StandardError) do
      define_method(:backtrace) { raise "no backtrace" }
      define_method(:respond_to?) { |*| raise "no questions" }
    end)
    expect(failure_of(attempts: 2) { |_| raise Mean, "hm" })
      .to include("kind" => "retryable", "class" => "Mean", "message" => "hm")
  end

  it "with a message of megabytes is cut" do
    error = failure_of { |_| raise IOError, "ü" * 2_000_000 }
    expect(error["message"].bytesize).to be < 20_000
    expect(error["message"]).to end_with("ü…")
  end

  it "without a name is of the class above it" do
    expect(failure_of { |_| raise Class.new(KeyError), "anonymous" })
      .to include("class" => "KeyError", "message" => "anonymous")
  end

  it "whose class has no name to tell, or raises instead, keeps its message" do
    nameless = Class.new(KeyError) { define_singleton_method(:name) { nil } }
    expect(failure_of { |_| raise nameless, "nil" }).to include("class" => "KeyError", "message" => "nil")
    stub_const("Mean", Class.new(StandardError) { define_singleton_method(:name) { raise "no name" } })
    define_single("mean", max_attempts: 1) { |_| raise Mean, "raises" }
    expect(Stepwell.submit("spec/mean").wait(timeout: 30).steps[0].error)
      .to include("class" => "Mean", "message" => "raises")
  end

  it "whose message raises is told with what it was made with" do
    stub_const("Mean", Class.new(StandardError) { define_method(:message) { raise KeyError, "ha" } })
    expect(failure_of { |_| raise Mean, "in earnest" }).to include("class" => "Mean", "message" => "in earnest")
  end

  it "loses nothing else to a method of its own that raises" do
    stub_const("Mean", Class.new(Stepwell::RetryableError) do
      %i[code context class singleton_class is_a? cause].each do |name|
        define_method(name) { |*| raise NotImplementedError, name.to_s }
      end
      define_singleton_method(:ancestors) { raise NotImplementedError, "ancestors" }
    end)
    error = failure_of(attempts: 2) do |step|
      step.metadata["status"] = 503
      raise Mean.new("hm", retry_after: 0)
    end
    expect(error).to include("kind" => "retryable", "class" => "Mean", "message" => "hm",
                             "metadata" => { "status" => 503 })
    expect(error["backtrace"]).to include(/#{__FILE__}/)
  end

  it "with metadata that cannot be read keeps the rest" do
    mean = Class.new(Hash) { define_method(:each) { raise KeyError, "none of your business" } }
    error = failure_of do |step|
      step.metadata["mean"] = mean.new
      raise Stepwell::PermanentError.new("hm", context: { a: 1 })
    end
    expect(error).to include("kind" => "permanent", "message" => "hm", "context" => { "a" => 1 },
                             "metadata" => { "unstorable" => "KeyError: none of your business" })
  end

  it "with a message in an encoding that nothing converts has what can be read of it" do
    expect(failure_of { |_| raise IOError, "plain +-\xFF".dup.force_encoding("UTF-7") })
      .to include("class" => "IOError", "message" => "plain +-\u{FFFD}")
  end
end
