# frozen_string_literal: true

module Stepwell
  # Base of the classes that execute steps. A new instance is made for each attempt, so handlers need no locks of their
  # own. It may run more than once for the same step: use {StepExecution#idempotency_key} with what must happen once.
  #
  # @example
  #   class ReserveInventory < Stepwell::StepHandler
  #     def call(step)
  #       { "reserved" => step.context["items"].size }
  #     end
  #   end
  class StepHandler
    # Executes one attempt.
    # @param _step [StepExecution] the step: its context, the results it depends on, its configuration
    # @return [Object] the step's result, any JSON value
    # @raise [PermanentError] when no attempt can succeed
    # @raise [RetryableError] when another attempt may, and to say when; any other StandardError is retried too
    def call(_step)
      raise NotImplementedError, "#{self.class} must define call(step)"
    end
  end
end
