# frozen_string_literal: true

require "spec_helper"

# A person who reads a task, the database or the logs finds no secret that an exception has told.
RSpec.describe "secrets in what a handler raises" do
  secret = "zQ7xJ,)kV9"
  pem = "-----BEGIN PRIVATE KEY-----\r\nMIIE#{"zQ7xJkV9" * 6}\r\n-----END PRIVATE KEY-----\r\n"

  # @return [String] all that is stored of the task's failed attempts
  def stored(task)
    psql("select string_agg(a::text, ' ') from stepwell.step_attempts a where task_id = '#{task.id}'") +
      psql("select string_agg(s::text, ' ') from stepwell.steps s where task_id = '#{task.id}'")
  end

  it "are masked in messages, contexts, metadata and backtraces, wherever these can be read" do
    lines = logged
    define_single(max_attempts: 1) do |step|
      step.metadata.merge!("headers" => { "Authorization" => "Bearer #{secret}", "Retry-After" => "3" })
      error = Stepwell::PermanentError.new(
        "POST postgres://app:#{secret}@db/shop failed: password=#{secret.tr(",)", "__")} #{pem}",
        code: "DENIED", context: { "request" => [{ "apiKey" => secret, "n" => 2**70, "card" => 4_111_111_111_111_111 }],
                                   "monkey" => "keyboard", "idempotency_key" => "order-42", "pem" => pem }
      )
      error.set_backtrace(["app/token.rb:12:in `x'", "(eval with secret=#{secret.tr(",)", "__")}):3"])
      raise error
    end
    start_stepwell
    task = Stepwell.submit("spec/single", { "password" => secret }).wait(timeout: 20)

    error = task.steps[0].error
    expect(error).to include("code" => "DENIED",
                             "message" => "POST postgres://app:***@db/shop failed: password=*** ***\r\n")
    expect(error["context"]).to eq("request" => [{ "apiKey" => "***", "n" => 2**70, "card" => "***" }],
                                   "monkey" => "keyboard", "idempotency_key" => "order-42", "pem" => "***\r\n")
    expect(error["backtrace"][0]).to eq("app/token.rb:12:in `x'")
    [stored(task), task.steps.inspect, error.to_s, lines.string].each do |text|
      expect(text).not_to match(/zQ7x|kV9/)
    end
    expect(task.context).to eq("password" => secret) # the task's own data, which its steps need
  end

  it "are masked in what standard error says of them" do
    run = run_ruby(<<~RUBY, env: { "DATABASE_URL" => database_url, "STEPWELL__LOGGING__LEVEL" => "debug" })
      failing = Class.new(Stepwell::StepHandler) do
        define_method(:call) { |_| raise "cannot log in to https://app:#{secret}@api/: token: #{secret.tr(",)", "__")}" }
      end
      Stepwell.workflow("spec/failing") { step :only, failing, max_attempts: 1 }
      Stepwell::Orchestrator.embedded do
        worker = Stepwell::Worker.new(namespaces: "spec").start
        puts Stepwell.submit("spec/failing").wait(timeout: 20).state
        worker.stop
      end
    RUBY
    expect(run.gets).to eq("error")
    expect(run.wait).to be_success
    expect(run.errors).not_to match(/zQ7x|kV9/)
  end

  it "are masked by the extension as the library asks" do
    native = Stepwell::Native
    expect(native.mask_text("Bearer abc123")).to eq("Bearer ***")
    expect(native.mask_field("api_key", "x")).to eq("***")
    expect(native.mask_field("author", "x")).to eq("x")
    expect(native.mask_json('{"a":{"token":[1,2]},"b":1.10}')).to eq('{"a":{"token":"***"},"b":1.10}')
  end

  it "are masked by the application's own list of keys" do
    run = run_ruby(<<~RUBY, env: { "STEPWELL__MASKING__KEYS" => "pin, idempotency_key" })
      Stepwell.config
      puts Stepwell::Native.mask_text("pin=1 token=2 idempotency_key=3 api_key=4")
    RUBY
    expect(run.gets).to eq("pin=*** token=2 idempotency_key=*** api_key=4")
    expect(run.wait).to be_success
  end
end
