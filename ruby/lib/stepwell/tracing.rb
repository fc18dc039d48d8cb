# frozen_string_literal: true

module Stepwell
  # Traces where the application has loaded a Ruby OpenTelemetry SDK: a submit is below the span that is current there,
  # and a handler runs below the span of its task. The W3C headers are used whatever propagators the application has
  # set, because they are what a task's trace context is.
  # @api private
  module Tracing
    module_function

    # @return [Boolean] whether there is an API to ask
    def loaded?
      defined?(::OpenTelemetry::Trace::Propagation::TraceContext) ? true : false
    end

    # @return [Hash{String => String}, nil] the trace context of the current span; nil where there is none
    def current
      return unless loaded? && ::OpenTelemetry::Trace.current_span.context.valid?

      propagator.inject(carrier = {})
      carrier
    end

    # Runs a handler in the trace of its task, so that what it calls finds it there. Where the core exports the
    # handler's span nothing is added to it; else the application's SDK gets one.
    # @param step [StepExecution]
    # @param native [Native::Step]
    # @return what the block returns
    def handle(step, native, &block)
      return yield unless loaded? && (trace = step.trace_context)

      context = propagator.extract(trace)
      return ::OpenTelemetry::Context.with_current(context, &block) if native.handler_span?

      in_span(step, context, &block)
    end

    def in_span(step, parent, &block)
      about = attributes(step)
      span = tracer.start_span("execute #{step.name}", with_parent: parent, kind: :consumer, attributes: about)
      context = ::OpenTelemetry::Trace.context_with_span(span, parent_context: parent)
      ::OpenTelemetry::Context.with_current(context, &block)
    rescue Exception => e # rubocop:disable Lint/RescueException -- whatever a handler raises is its attempt's outcome
      fail_span(span, e)
      raise
    ensure
      span&.finish
    end

    # The class alone: a message may hold what is nobody's business.
    def fail_span(span, error)
      return unless span

      name = Failure.class_name(error)
      span.set_attribute("error.type", name)
      span.status = ::OpenTelemetry::Trace::Status.error(name)
    end

    def attributes(step)
      { "stepwell.namespace" => step.workflow[%r{\A[^/]*}], "stepwell.workflow" => step.workflow,
        "stepwell.task_id" => step.task_id, "stepwell.step" => step.name, "stepwell.attempt" => step.attempt }
    end

    def tracer
      ::OpenTelemetry.tracer_provider.tracer("stepwell", VERSION)
    end

    def propagator
      ::OpenTelemetry::Trace::Propagation::TraceContext.text_map_propagator
    end
  end
end
