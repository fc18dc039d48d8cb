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
      guarded do
        next unless loaded? && ::OpenTelemetry::Trace.current_span.context.valid?

        {}.tap { |carrier| propagator.inject(carrier) }
      end
    end

    # Runs a handler in the trace of its task, so that what it calls finds it there. Where the core exports the
    # handler's span nothing is added to it; else the application's SDK gets one.
    # @param step [StepExecution]
    # @param native [Native::Step]
    # @return what the block returns
    def handle(step, native, &block)
      return yield unless loaded? && (trace = step.trace_context)

      context, span = guarded { enter(step, trace, native.handler_span?) }
      return yield unless context

      begin
        ::OpenTelemetry::Context.with_current(context, &block)
      rescue Exception => e # rubocop:disable Lint/RescueException -- whatever a handler raises is its attempt's outcome
        guarded { fail_span(span, e) } if span
        raise
      ensure
        guarded { span.finish } if span
      end
    end

    # @return [Array] the context for the handler, and its span unless another has that
    def enter(step, trace, has_span)
      parent = propagator.extract(trace)
      return [parent, nil] if has_span

      about = attributes(step)
      span = tracer.start_span("execute #{step.name}", with_parent: parent, kind: :consumer, attributes: about)
      [::OpenTelemetry::Trace.context_with_span(span, parent_context: parent), span]
    end

    def fail_span(span, error)
      name = Failure.class_name(error)
      span.set_attribute("error.type", name)
      description = Native.mask_text("#{name}: #{Failure.message(error)}")[0, 500]
      span.status = ::OpenTelemetry::Trace::Status.error(description)
    end

    # What an application has put into its SDK must not disturb the work: it is told once, and the trace goes without.
    def guarded
      yield
    rescue StandardError => e
      Stepwell.logger.warn("the OpenTelemetry SDK raises, its traces lack what Stepwell adds: #{e.class}") unless @told
      @told = true
      nil
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
