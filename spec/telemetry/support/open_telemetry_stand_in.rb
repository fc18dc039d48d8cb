# frozen_string_literal: true

module Specs
  # A stand-in for the gems opentelemetry-api and opentelemetry-sdk: the part of their interface that Stepwell uses,
  # with the same names, arguments and behaviour, and a list of the spans that have been finished.
  module OpenTelemetryStandIn
    SpanContext = Struct.new(:trace_id, :span_id, :sampled, keyword_init: true) do
      def valid? = trace_id != "0" * 32
    end
    INVALID = SpanContext.new(trace_id: "0" * 32, span_id: "0" * 16, sampled: false)

    Span = Struct.new(:name, :context, :parent, :kind, :attributes, :status, :finished, keyword_init: true) do
      def set_attribute(key, value)
        attributes[key] = value
      end

      def finish
        self.finished = true
        OpenTelemetryStandIn.finished << self if context.sampled
      end
    end

    # What is current on a thread, or in a Fiber.
    class Context
      attr_reader :span

      def initialize(span)
        @span = span
      end

      def self.current = Thread.current[:stand_in_contexts]&.last || new(Span.new(context: INVALID))

      def self.with_current(context)
        (Thread.current[:stand_in_contexts] ||= []).push(context)
        yield context
      ensure
        Thread.current[:stand_in_contexts].pop
      end
    end

    # Spans and the context that they are in.
    module Trace
      def self.current_span(context = Context.current) = context.span
      def self.context_with_span(span, parent_context: Context.current) = parent_context && Context.new(span)

      Status = Struct.new(:code, :description) do
        def self.error(description = "") = new(2, description)
      end

      module Propagation
        # The headers of W3C.
        module TraceContext
          def self.text_map_propagator = self

          def self.inject(carrier, context: Context.current)
            span = context.span.context
            return unless span.valid?

            carrier["traceparent"] = "00-#{span.trace_id}-#{span.span_id}-0#{span.sampled ? 1 : 0}"
          end

          def self.extract(carrier, context: Context.current)
            _version, trace, span, flags = carrier["traceparent"].split("-")
            remote = SpanContext.new(trace_id: trace, span_id: span, sampled: flags == "01")
            Trace.context_with_span(Span.new(context: remote), parent_context: context)
          end
        end
      end
    end

    # Makes spans.
    class Tracer
      def start_span(name, with_parent: Context.current, attributes: {}, kind: :internal)
        parent = with_parent.span.context
        trace = parent.valid? ? parent.trace_id : SecureRandom.hex(16)
        sampled = parent.valid? ? parent.sampled : true
        context = SpanContext.new(trace_id: trace, span_id: SecureRandom.hex(8), sampled: sampled)
        Span.new(name: name, context: context, parent: parent, kind: kind, attributes: attributes.dup)
      end
    end

    class << self
      def tracer_provider = self
      def tracer(_name, _version = nil) = @tracer ||= Tracer.new
      def finished = @finished ||= []

      # What an application does.
      def in_span(name)
        span = tracer("application").start_span(name)
        Context.with_current(Context.new(span)) { yield span }
      ensure
        span.finish
      end
    end
  end
end
