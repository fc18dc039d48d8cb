# frozen_string_literal: true

require "spec_helper"

RSpec.describe "what is kept of an attempt that failed" do
  quick = { base: 0.01, cap: 0.01 }

  # Runs a workflow with one step to its end.
  def run_single(**options, &block)
    define_single(**options, &block)
    start_stepwell
    Stepwell.submit("spec/single").wait(timeout: 30).steps.first
  end

  it "is the metadata that the handler noted: status, headers, fields of its own" do
    metadata = { "status" => 429, "headers" => { "Retry-After" => "0", "x-list" => %w[a b] },
                 "backoff_hint" => { "type" => "rate_limit", "delay" => 0 }, "region" => "eu", "big" => 2**64 }
    step = run_single(max_attempts: 1) do |it|
      it.metadata.update(metadata)
      it.metadata[:symbols] = { become: :strings }
      raise Stepwell::RetryableError.new("busy", code: "HTTP_429", context: { "body" => "slow down" })
    end

    expect(step.error["metadata"]).to eq(metadata.merge("symbols" => { "become" => "strings" }))
    expect(step.error).to include("code" => "HTTP_429", "context" => { "body" => "slow down" })
  end

  it "is kept for each attempt, the oldest first, each with what it noted itself" do
    step = run_single(max_attempts: 3, backoff: quick) do |it|
      it.metadata["status"] = 500 + it.attempt if it.attempt < 3
      raise IOError, "attempt #{it.attempt}"
    end

    expect(step.attempts.map { |it| it.values_at("attempt", "kind", "class", "message", "metadata", "worker") })
      .to eq([[1, "retryable", "IOError", "attempt 1", { "status" => 501 }, step.worker],
              [2, "retryable", "IOError", "attempt 2", { "status" => 502 }, step.worker],
              [3, "retryable", "IOError", "attempt 3", nil, step.worker]])
    expect(step.error).to eq(step.attempts.last)
  end

  it "is kept also when the step completes in the end; then it has no error" do
    step = run_single(backoff: quick) { |it| it.attempt == 1 ? raise("not yet") : "done" }

    expect(step).to have_attributes(state: :complete, attempt: 2, result: "done", error: nil)
    expect(step.attempts.map { |it| it["message"] }).to eq(["not yet"])
  end

  it "has times, in order" do
    submitted = Time.now
    step = run_single(max_attempts: 2, backoff: quick) { |_| raise "no" }
    times = step.attempts.flat_map { |it| it.values_at("started_at", "finished_at") }

    expect(times).to all(be_a(Time))
    expect([submitted, *times, Time.now].each_cons(2)).to all(satisfy { |before, after| before <= after })
    expect([step.started_at, step.finished_at]).to eq(times.last(2))
  end

  it "shows the last 20 attempts" do
    step = run_single(max_attempts: 22, backoff: { base: 0.001, cap: 0.001 }) { |it| raise it.attempt.to_s }

    expect(step.attempts.map { |it| it["attempt"] }).to eq([*3..22])
  end

  it "has the backtrace, cut to 50 lines of at most 10,000 bytes" do
    deep = ->(levels) { levels.zero? ? raise("deep") : deep.call(levels - 1) }
    step = run_single(max_attempts: 2, backoff: quick) do |it|
      deep.call(200) if it.attempt == 1
      raise IOError, "long", ["ü" * 6_000, "b.rb:2"]
    end

    expect(step.attempts[0]["backtrace"].size).to eq(50)
    expect(step.attempts[0]["backtrace"]).to all(start_with(__FILE__))
    expect(step.attempts[1]["backtrace"]).to eq(["#{"ü" * 5_000}…", "b.rb:2"])
  end

  it "hides no error when the metadata is not JSON, or no JSON that PostgreSQL can store" do
    itself = {}.tap { |it| it["self"] = it }
    bad = [Object.new, { "a" => [Float::NAN] }, "\xFF", itself, "a\u0000b", 10**131_073]
    handlers = bad.map do |value|
      handler do |step|
        step.metadata.update("status" => 503, "bad" => value)
        raise Stepwell::PermanentError.new("gone", code: "GONE", context: { "id" => 1 })
      end
    end
    Stepwell.workflow("spec/bad") { handlers.each_with_index { |code, n| step("s#{n}", code) } }
    start_stepwell
    errors = Stepwell.submit("spec/bad").wait(timeout: 30).steps.map(&:error)

    expect(errors).to all(include("kind" => "permanent", "class" => "Stepwell::PermanentError", "message" => "gone",
                                  "code" => "GONE"))
    expect(errors.map { |it| it["metadata"] })
      .to match([{ "unstorable" => /a Object at metadata\["bad"\]/ },
                 { "unstorable" => /NaN at metadata\["bad"\]\["a"\]\[0\]/ },
                 { "unstorable" => /not UTF-8 at metadata\["bad"\]/ }, { "unstorable" => /contains itself/ },
                 nil, include("bytes" => 131_095)])
  end

  it "does not lose the delay that the error asks for with metadata that cannot be stored" do
    define_single(backoff: { base: 0.01, cap: 3600 }) do |step|
      step.metadata["bad"] = "\u0000"
      raise Stepwell::RetryableError.new("busy", retry_after: 600)
    end
    start_stepwell
    task = Stepwell.submit("spec/single")
    step = eventually { task.refresh.steps.find(&:run_at) }

    expect(step.run_at - step.finished_at).to be_between(600, 620)
  end

  it "is nothing that a handler noted when it succeeds" do
    step = run_single do |it|
      it.metadata["status"] = 200
      "done"
    end

    expect(step).to have_attributes(state: :complete, error: nil, attempts: [])
  end

  it "is cut where it is more than worker.attempt_details, with a mark, and the rest of the attempt stays" do
    Stepwell.configure { |config| config.worker.attempt_details = 2_000 }
    step = run_single(max_attempts: 1) do |it|
      it.metadata["blob"] = "é" * 3_000
      raise Stepwell::PermanentError.new("too much", code: "MUCH", context: { "blob" => "x" * 3_000_000 })
    end

    expect(step.error).to include("message" => "too much", "code" => "MUCH", "kind" => "permanent")
    expect(step.error["context"]).to match("cut" => /\A{"blob":"x+…\z/, "bytes" => 3_000_011)
    expect(step.error["metadata"]).to match("cut" => /\A{"blob":"é+…\z/, "bytes" => 6_011)
    sizes = psql("select octet_length(context::text), octet_length(metadata::text) from stepwell.step_attempts")
    expect(sizes.split("|").map(&:to_i)).to all(be < 2_100)
  end
end
