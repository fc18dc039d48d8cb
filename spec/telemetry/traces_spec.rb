# frozen_string_literal: true

require "securerandom"
require "spec_helper"
require_relative "support/open_telemetry_stand_in"
require_relative "support/otlp_receiver"

RSpec.describe "traces" do
  trace = "4bf92f3577b34da6a3ce929d0e0e4736"
  given = { "traceparent" => "00-#{trace}-00f067aa0ba902b7-01", "tracestate" => "shop=1" }.freeze

  after do
    stop_stepwell # while there is somebody to send to
    @receiver&.close
  end

  # @return [Specs::OtlpReceiver]
  def receiver
    @receiver ||= Specs::OtlpReceiver.new
  end

  # Starts an orchestrator and a worker that export to the receiver.
  def start_exporting
    with_variables("STEPWELL__TRACES__OTLP_ENDPOINT" => receiver.url) { start_stepwell }
  end

  # What was recorded has arrived when this returns.
  def stop_stepwell
    clean_up
  end

  # @return [Hash] what the handler saw
  def seen(task)
    task.wait(timeout: 20).result(:only)
  end

  def load_stand_in
    Specs::OpenTelemetryStandIn.finished.clear
    stub_const("OpenTelemetry", Specs::OpenTelemetryStandIn)
  end

  def span_id(trace_context)
    trace_context["traceparent"].split("-")[2]
  end

  it "carry the submitter's trace context to each handler" do
    define_single(&:trace_context)
    start_stepwell

    expect(seen(Stepwell.submit("spec/single", {}, trace_context: given))).to eq(given)
    expect(seen(Stepwell.submit("spec/single", {}, trace_context: given.transform_keys(&:to_sym)))).to eq(given)
    expect(seen(Stepwell.submit("spec/single"))).to be_nil
  end

  it "refuse what is no trace context" do
    define_single { nil }
    start_stepwell
    wrong = { "00-1" => /Hash/, { "traceparent" => "00-1" } => /trace_context\.traceparent/,
              { tracestate: "a=1" } => /no traceparent/, given.merge("baggage" => "a=1") => /unknown baggage/ }
    wrong.each do |trace_context, message|
      expect { Stepwell.submit("spec/single", {}, trace_context: trace_context) }
        .to raise_error(Stepwell::ValidationError, message)
    end
  end

  it "are exported from the submit to the handler, whose own span is what it hands on" do
    define_single(&:trace_context)
    start_exporting
    task = Stepwell.submit("spec/single", {}, trace_context: given)
    context = seen(task)
    stop_stepwell

    submit, execute = ["submit spec/single", "execute only"].map { |name| receiver.span(name) }
    expect(submit).to have_attributes(trace: trace, parent: "00f067aa0ba902b7", service: "stepwell", error: nil)
    expect(execute).to have_attributes(trace: trace, parent: submit.id, id: span_id(context), error: nil)
    expect(execute.attributes).to include("stepwell.task_id" => task.id, "stepwell.step" => "only",
                                          "stepwell.attempt" => 1, "stepwell.namespace" => "spec")
    expect(context["tracestate"]).to eq("shop=1")
    expect(receiver.spans.map(&:parent).tally).to eq("00f067aa0ba902b7" => 1, submit.id => 3, execute.id => 2)
  end

  it "tell how an attempt failed, without passwords" do
    define_single { raise Stepwell::PermanentError, "no answer of https://shop:s3cret@example.com/orders" }
    start_exporting
    Stepwell.submit("spec/single").wait(timeout: 20)
    stop_stepwell

    expect(receiver.span("execute only"))
      .to have_attributes(error: "Stepwell::PermanentError: no answer of https://shop:***@example.com/orders")
  end

  it "are of the process that a fork makes, which has its own way to the receiver" do
    define_single(&:trace_context)
    start_exporting
    env = { "DATABASE_URL" => database_url, "STEPWELL__TRACES__OTLP_ENDPOINT" => receiver.url }
    process = run_ruby(<<~RUBY, env: env)
      submit = ->(n) { Stepwell.submit("spec/single", {}, correlation_id: n.to_s).wait(timeout: 20) }
      submit.(0)
      children = Array.new(2) { |n| fork { submit.(n) } }
      puts children.map { |child| Process.wait2(child).last.success? }.all?
      submit.(3)
    RUBY
    expect(process.gets).to eq("true")
    expect(process.wait).to be_success

    submits = receiver.spans.select { |span| span.name == "submit spec/single" }
    expect(submits.map(&:trace).uniq.size).to eq(4)
  end

  context "with a Ruby OpenTelemetry SDK" do
    before { load_stand_in }

    it "begin in its current span, and its spans in a handler are below the task's" do
      define_single { OpenTelemetry.in_span("GET") { |span| [span.context.trace_id, span.parent.span_id] } }
      start_stepwell
      request = nil
      task = OpenTelemetry.in_span("POST /orders") { |span| (request = span) && Stepwell.submit("spec/single") }
      found = seen(task)

      execute = OpenTelemetry.finished.find { |span| span.name == "execute only" }
      expect(execute.parent.span_id).to eq(request.context.span_id)
      expect(execute).to have_attributes(kind: :consumer, status: nil, finished: true)
      expect(execute.attributes).to include("stepwell.task_id" => task.id, "stepwell.step" => "only")
      expect(found).to eq([request.context.trace_id, execute.context.span_id])
    end

    it "tell how an attempt failed, without passwords" do
      define_single { raise Stepwell::PermanentError, "no answer of https://shop:s3cret@example.com" }
      start_stepwell
      Stepwell.submit("spec/single", {}, trace_context: given).wait(timeout: 20)

      expect(OpenTelemetry.finished.last.status)
        .to have_attributes(code: 2, description: "Stepwell::PermanentError: no answer of https://shop:***@example.com")
    end

    it "have one span of the handler where the core exports it" do
      define_single { OpenTelemetry.in_span("GET") { |span| [span.context.trace_id, span.parent.span_id] } }
      start_exporting
      found = seen(Stepwell.submit("spec/single", {}, trace_context: given))
      stop_stepwell

      expect(found).to eq([trace, receiver.span("execute only").id])
      expect(OpenTelemetry.finished.map(&:name)).to eq(["GET"])
    end

    it "disturb no work when it raises" do
      broken = Module.new { def self.text_map_propagator = raise(NoMethodError, "of another version") }
      stub_const("OpenTelemetry::Trace::Propagation::TraceContext", broken)
      lines = logged
      define_single { |step| step.context["n"] }
      start_stepwell
      found = OpenTelemetry.in_span("POST") { (1..2).map { |n| seen(Stepwell.submit("spec/single", { n: n })) } }
      found << seen(Stepwell.submit("spec/single", { n: 3 }, trace_context: given))

      expect(found).to eq([1, 2, 3])
      expect(lines.string.scan(/the OpenTelemetry SDK raises.*NoMethodError/).size).to eq(1)
    end

    it "leave a handler of a task without a trace alone" do
      define_single { OpenTelemetry::Trace.current_span.context.valid? }
      start_stepwell

      expect(seen(Stepwell.submit("spec/single"))).to be(false)
      expect(OpenTelemetry.finished).to be_empty
    end
  end
end
