# frozen_string_literal: true

module Stepwell
  class Worker
    # What the threads of this process do, for a person who asks with SIGTTIN: each in a line of the log, with the step
    # that it executes, since when, and where it is.
    # @api private
    module ThreadDump
      # Seconds between two. A process in the background that reads from its terminal gets the signal again and again.
      PAUSE = 1.0

      module_function

      def log
        now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        return if @last && now - @last < PAUSE

        @last = now
        Thread.list.each { |thread| Logging.log(Logger::WARN, :worker, "a thread", **about(thread)) }
      end

      # @return [Hash{Symbol => Object}]
      def about(thread)
        step = thread.thread_variable_get(:stepwell_step)
        executes = step ? { task: step.task_id, step: step.name, attempt: step.attempt, ms: step.runs_for_ms } : {}
        { thread: thread.name || (thread == Thread.main ? "main" : thread.inspect), state: thread.status || "dead",
          **executes, at: thread.backtrace&.join(" < ") }
      end
      private_class_method :about
    end
  end
end
