# frozen_string_literal: true

module Stepwell
  # In a trap no Mutex can be locked, and no answer is known in advance to what the interrupted thread holds.
  # @api private
  module TrapContext
    module_function

    # Runs the block: in a trap on a thread of its own, which the trap waits for.
    # @param limit [Numeric, nil] seconds that a trap waits at most. What the interrupted thread holds it lets go only
    #   when the trap has returned; the block goes on then.
    # @return what the block returns; nil when a trap has waited in vain
    def leave(limit, &block)
      return yield unless inside?

      thread = Thread.new(&block)
      thread.name = "stepwell trap"
      thread.report_on_exception = false
      thread.join(limit)&.value
    end

    # @return [Boolean] whether this is a trap
    def inside?
      Mutex.new.synchronize { false }
    rescue ThreadError
      true
    end
  end
end
