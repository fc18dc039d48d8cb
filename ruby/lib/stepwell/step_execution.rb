# frozen_string_literal: true

module Stepwell
  # What a handler gets: one attempt of one step.
  class StepExecution
    include OneLine

    # @return [Hash] what the handler wants to travel with this attempt's outcome and to be stored when it fails: HTTP
    #   status, headers, anything of its own; String keys, any JSON
    attr_reader :metadata

    # @api private
    # @param native [Native::Step]
    # @param worker [Native::Worker]
    def initialize(native, worker)
      @native = native
      @worker = worker
      @metadata = {}
    end

    # @return [Hash] the task's context; keys are Strings. Integers are exact at any size, other numbers Floats.
    def context
      @context ||= JsonValue.parse(@native.context_json)
    end

    # @return [Hash{String => Object}] results of the steps that this one depends on, by step name
    def results
      @results ||= parse(@native.results_json)
    end

    # @return [Hash] the step's configuration; keys are Strings
    def config
      @config ||= parse(@native.config_json)
    end

    # @return [Integer] which attempt this is, from 1
    def attempt
      @native.attempt
    end

    # @return [Integer] how many attempts the step has in all
    def max_attempts
      @native.max_attempts
    end

    # @return [String] uuid of the task
    def task_id
      @native.task_id
    end

    # @return [String] name of the step
    def name
      @native.name
    end

    # @return [String] "namespace/name" of the workflow
    def workflow
      @native.workflow
    end

    # @return [String] version of the workflow
    def version
      @native.version
    end

    # @return [String, nil] the task's correlation id
    def correlation_id
      @native.correlation_id
    end

    # @return [Hash{String => String}, nil] W3C trace context, "traceparent" and perhaps "tracestate": give it to what
    #   the handler calls, so that it is in the task's trace; nil when the task has none
    def trace_context
      return @trace_context if defined?(@trace_context)

      @trace_context = @native.trace_context_json&.then { |json| JSON.parse(json) }
    end

    # @return [String] the same for all attempts of this step of this task, and for no other: give it to what must do a
    #   thing once
    def idempotency_key
      "#{@native.task_id}:#{@native.name}"
    end

    # Stores how far a long step is, and makes sure that the result will still be wanted. The lease needs no help: it is
    # kept for as long as the process lives. While the database is away nothing is stored, and nothing raised.
    # @param progress [Object] any JSON
    # @return [void]
    # @raise [Cancelled] when the task was cancelled: stop working
    # @raise [LostLease] when another worker has the step, it was resolved by hand, or its task is overdue: stop working
    # @raise [ValidationError] when the progress is not JSON
    def heartbeat(progress = nil)
      case @worker.heartbeat(@native, JsonValue.generate(progress, "progress"))
      when "cancelled" then raise Cancelled, "task #{task_id} was cancelled"
      when "settled" then raise LostLease, "step #{name} of task #{task_id} has ended without its handler"
      when "lost" then raise LostLease, "attempt #{attempt} of step #{name} of task #{task_id} is lost"
      end
    rescue JsonValue::Refused => e
      raise ValidationError, "the progress #{e.message}"
    end

    # @return [Logging::FieldLogger] logs to {Stepwell.logger}, each line with task, step, attempt and the
    #   task's correlation id
    def logger
      @logger ||= Logging::StepLogger.new(Stepwell.logger, { task: task_id, step: name, attempt: attempt,
                                                             correlation_id: correlation_id })
    end

    private

    def summary
      [workflow, name, "attempt #{attempt}/#{max_attempts}", "task=#{task_id}"]
    end

    def parse(json)
      json ? JsonValue.parse(json) : {}
    end
  end
end
