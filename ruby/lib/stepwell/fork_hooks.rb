# frozen_string_literal: true

# What an application does around the forks of a worker fleet (`stepwell work --processes 4`).
module Stepwell
  @fork_hooks = { before: [], after: [] }

  class << self
    # Runs a block in the supervisor of a worker fleet, before each process that it forks: to let go of what a child
    # must not share. An application that forks by itself runs nothing of this.
    # @yieldparam number [Integer] of the process to come, from 1; one that replaces another has the same
    # @return [void]
    # @raise [ValidationError] without a block
    def before_fork(&block)
      add_fork_hook(:before, block)
    end

    # Runs a block in each process that the supervisor of a worker fleet has forked, before its worker starts: to open
    # again what {before_fork} closed, or to start what a child has for itself. Blocks run in the order in which they
    # were given.
    # @yieldparam number [Integer] of the process, from 1; one that replaces another has the same
    # @return [void]
    # @raise [ValidationError] without a block
    def after_fork(&block)
      add_fork_hook(:after, block)
    end

    # @api private
    # @param time [Symbol] :before or :after
    # @param number [Integer] of the process
    def run_fork_hooks(time, number)
      ActiveRecordConnections.release_after { @fork_hooks.fetch(time).each { |hook| hook.call(number) } }
    end

    private

    def add_fork_hook(time, block)
      raise ValidationError, "#{time}_fork: give a block" unless block

      @fork_hooks.fetch(time) << block
      nil
    end
  end
end
