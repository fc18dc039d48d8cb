# frozen_string_literal: true

require_relative "support"

RSpec.describe Stepwell::ApiHandler, "in a workflow" do
  quick = { base: 0.02, cap: 5, jitter: 0 }

  # Runs a workflow with one step, whose handler posts to the server.
  def run_single(url, settings: {}, **options)
    code = api(base_url: url, **settings) do
      define_method(:call) { |step| post(step, "/charges?key=secret", json: step.context).json }
    end
    Stepwell.workflow("spec/single") { step(:only, code, **options) }
    start_stepwell(concurrency: 2)
    Stepwell.submit("spec/single", { "amount" => 5 }).wait(timeout: 30)
  end

  # @return [Array<Hash>] what is recorded of each attempt that did not succeed
  def attempts
    JSON.parse(psql("select coalesce(json_agg(a order by attempt), '[]') from stepwell.step_attempts a"))
  end

  # @return [HttpServer] gives these answers, and keeps in `times` when
  def answering_in_turn(*answers)
    start_server do |_|
      times << Specs::Patience.now
      answers.size > 1 ? answers.shift : answers.first
    end
  end

  def times
    @times ||= []
  end

  it "is tried again after a 503, with the same idempotency key, and returns what the API said" do
    server = answering_in_turn(http(503, { "Date" => "now", "X-Request-Id" => "r1" }, "down"),
                               http(200, {}, '{"id":7}'))
    task = run_single(server.url, backoff: quick)

    expect(task).to have_attributes(state: :complete, results: { "only" => { "id" => 7 } })
    requests = Array.new(2) { server.request }
    expect(requests.map { |it| it.headers["idempotency-key"] }).to eq(["#{task.id}:only"] * 2)
    expect(requests.map(&:body)).to eq(['{"amount":5}'] * 2)
    expect(attempts).to match([include(
      "kind" => "retryable", "error_class" => "Stepwell::RetryableError", "code" => "HTTP_503",
      "message" => "POST #{server.url}/charges answered 503 Service Unavailable", "context" => { "body" => "down" },
      "metadata" => { "request" => "POST #{server.url}/charges", "status" => 503,
                      "headers" => { "Date" => "now", "X-Request-Id" => "r1" },
                      "backoff_hint" => { "type" => "service_unavailable" } }
    )])
  end

  it "does not send again what an API has accepted without a body" do
    server = answering_in_turn(http(204, {}, ""))

    expect(run_single(server.url, backoff: quick)).to have_attributes(state: :complete, results: { "only" => nil })
    expect(times.size).to eq(1)
  end

  it "does not send again what an API has accepted with a body that is no JSON" do
    server = answering_in_turn(http(200, { "Content-Type" => "text/html" }, "<p>Thank you"))
    task = run_single(server.url, backoff: quick)

    expect(task.state).to be(:error)
    expect(task.steps.first.error).to include("kind" => "permanent", "code" => "HTTP_NOT_JSON", "attempt" => 1)
    expect(times.size).to eq(1)
  end

  it "waits for as long as Retry-After says" do
    server = answering_in_turn(http(429, { "retry-after" => "1" }), http(200, {}, "{}"))
    task = run_single(server.url, backoff: quick)

    expect(task.state).to be(:complete)
    expect(times[1] - times[0]).to be >= 1
    expect(attempts[0]["metadata"]).to include("headers" => { "Retry-After" => "1" },
                                               "backoff_hint" => { "type" => "server_requested", "delay" => 1 })
  end

  it "waits no longer than the step's cap" do
    server = answering_in_turn(http(503, { "Retry-After" => "3600" }), http(200, {}, "{}"))

    expect(run_single(server.url, backoff: { base: 0.01, cap: 0.1, jitter: 0 }).state).to be(:complete)
    expect(times[1] - times[0]).to be >= 0.1
  end

  it "leaves a Retry-After that names a date to the orchestrator" do
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    server = answering_in_turn(http(503, { "Retry-After" => date }))
    task = run_single(server.url, backoff: quick, max_attempts: 1)

    expect(task.steps.first.error["metadata"])
      .to include("status" => 503, "headers" => { "Retry-After" => date },
                  "backoff_hint" => { "type" => "service_unavailable" })
  end

  it "ends in error at once after a 409, and says why" do
    server = answering_in_turn(http(409, {}, "\xFFno\u0000".b))
    task = run_single(server.url, backoff: quick, max_attempts: 5)

    expect(task).to have_attributes(state: :error, error: "only: POST #{server.url}/charges answered 409 Conflict")
    expect(task.steps.first.attempt).to eq(1)
    expect(task.steps.first.error)
      .to include("kind" => "permanent", "class" => "Stepwell::PermanentError", "code" => "HTTP_409",
                  "context" => { "body" => "\uFFFDno\uFFFD" },
                  "metadata" => { "request" => "POST #{server.url}/charges", "status" => 409, "headers" => {} })
    expect(server.requests.size).to eq(1)
  end

  it "is tried again where nobody listens, and, where the step says so, where JSON was to come" do
    server = answering_in_turn(http(200, {}, "<html>"), "", http(200, {}, "{}"))
    task = run_single(server.url, backoff: quick, retryable_errors: "HTTP_NOT_JSON")

    expect(task.state).to be(:complete)
    expect(attempts.map { |it| it.values_at("kind", "code") })
      .to eq([%w[retryable HTTP_NOT_JSON], %w[retryable HTTP_CONNECTION]])
    expect(attempts.map { |it| it["metadata"]["status"] }).to eq([200, nil])
  end

  it "is cut off by the step's timeout, and lets go of the connection" do
    closed = Queue.new
    server = start_server { |_, socket| closed.push(socket.read) && nil }
    task = run_single(server.url, backoff: quick, max_attempts: 1, timeout: 0.2)

    expect(task.steps.first.error).to include("kind" => "timeout")
    expect(task.steps.first.error["metadata"]).to eq("request" => "POST #{server.url}/charges")
    expect(eventually { closed.size == 1 }).to be(true)
  end
end
