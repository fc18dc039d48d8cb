# frozen_string_literal: true

module Stepwell
  # The block of {Stepwell.workflow}: collects the steps.
  class WorkflowBuilder
    include OneLine

    # @api private
    attr_reader :steps, :handlers

    # @api private
    def initialize(full_name)
      @full_name = full_name
      @steps = []
      @handlers = {}
    end

    # Adds a step.
    # @param name [Symbol, String] unique within the workflow
    # @param handler [Class] a {StepHandler}, or any class whose instances answer call(step)
    # @param depends_on [Symbol, String, Array<Symbol, String>] steps that must be complete before this one starts
    # @param max_attempts [Integer, nil] all attempts, the first included; nil means 3
    # @param backoff [Hash, nil] seconds, or texts with their unit, before the next attempt: base:, doubled with each
    #   attempt up to cap:, shortened by a random share of up to jitter: (0..1); nil means base 1, cap 300, jitter 0.2
    # @param timeout [Numeric, String, nil] seconds that one attempt may take, or a text with its unit such as "5m";
    #   nil, and Float::INFINITY, mean any time
    # @param permanent_errors [Array<Module, String>, Module, String] errors after which no attempt is made, whatever
    #   the handler thinks: classes and modules (and what descends from them) or codes
    # @param retryable_errors [Array<Module, String>, Module, String] errors after which another attempt is made, also
    #   when the handler says that they are permanent. A code decides before a class, a class before one above it.
    # @param config [Hash, nil] any JSON, handed to the handler
    # @return [void]
    # @raise [ValidationError] when the handler is no handler, or a time is no number of seconds
    def step(name, handler, depends_on: [], max_attempts: nil, backoff: nil, timeout: nil, permanent_errors: [],
             retryable_errors: [], config: nil)
      unless handler.is_a?(Class) && handler.method_defined?(:call)
        raise ValidationError, "workflow #{@full_name}, step #{name}: #{handler.inspect} is no handler: " \
                               "give a class whose instances answer call(step)"
      end
      handler_name = handler.name || "#{@full_name}##{name}"
      @handlers[handler_name] = handler
      @steps << { name: name.to_s, handler: handler_name, depends_on: Array(depends_on).map(&:to_s),
                  max_attempts: max_attempts, backoff: backoff(name, backoff),
                  timeout: timeout("step #{name}: timeout", timeout),
                  permanent_errors: errors(name, permanent_errors), retryable_errors: errors(name, retryable_errors),
                  config: config }.compact
    end

    # @api private
    # @param what [String] for messages
    # @param time [Numeric, String, nil]
    # @return [Numeric, String, nil] what JSON has a word for; nil also for what has no end
    def timeout(what, time)
      time = seconds(what, time)
      time unless time.is_a?(Float) && time.infinite?&.positive?
    end

    private

    def summary
      [@full_name, "steps=#{steps.map { |step| step[:name] }.join(",")}"]
    end

    def backoff(step, backoff)
      return if backoff.nil?

      unless backoff.is_a?(Hash)
        raise ValidationError, "workflow #{@full_name}, step #{step}: backoff: must be a Hash with base:, cap: and " \
                               "jitter:, not #{Argument.a(backoff)}"
      end

      backoff.to_h do |key, value|
        what = "step #{step}: backoff: #{key}"
        value = seconds(what, value)
        next [key, value] unless value.is_a?(Float) && value.infinite?

        raise ValidationError, "workflow #{@full_name}, #{what}: #{value} has no end: at most a year is allowed"
      end
    end

    # What has a unit is read by the core.
    def seconds(what, time)
      case time
      when nil, String, Integer then time
      else Argument.seconds("workflow #{@full_name}, #{what}", time)
      end
    end

    def errors(step, named)
      Array(named).map do |error|
        name = error.is_a?(Module) ? error.name : error
        next name if name.is_a?(String)

        raise ValidationError, "workflow #{@full_name}, step #{step}: #{error.inspect} is no error: " \
                               "give a class that has a name, or the text of a code"
      end
    end
  end
end
