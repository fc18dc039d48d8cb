# frozen_string_literal: true

module Stepwell
  # The block of {Stepwell.workflow}: collects the steps.
  class WorkflowBuilder
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
    # @param backoff [Hash, nil] seconds before the next attempt: base:, doubled with each attempt up to cap:, shortened
    #   by a random share of up to jitter: (0..1); nil means base 1, cap 300, jitter 0.2
    # @param timeout [Numeric, nil] seconds that one attempt may take
    # @param config [Hash, nil] any JSON, handed to the handler
    # @return [void]
    # @raise [ValidationError] when the handler is no handler
    def step(name, handler, depends_on: [], max_attempts: nil, backoff: nil, timeout: nil, config: nil)
      unless handler.is_a?(Class) && handler.method_defined?(:call)
        raise ValidationError, "workflow #{@full_name}, step #{name}: #{handler.inspect} is no handler: " \
                               "give a class whose instances answer call(step)"
      end
      handler_name = handler.name || "#{@full_name}##{name}"
      @handlers[handler_name] = handler
      @steps << { name: name.to_s, handler: handler_name, depends_on: Array(depends_on).map(&:to_s),
                  max_attempts: max_attempts, backoff: backoff, timeout: timeout, config: config }.compact
    end
  end
end
