# frozen_string_literal: true

require "timeout"

module Stepwell
  class Worker
    # One attempt of a step, on the thread that took it: from the handler to the report of what became of it.
    # @api private
    module Attempt
      class << self
        # @param step [Native::Step]
        # @param native [Native::Worker]
        # @return [Boolean] whether the outcome counts; if not, the step was given up, and this thread's place with it
        def execute(step, native)
          Logging::Tags.clear
          execution = StepExecution.new(step, native)
          handler = Stepwell.registry.handler(step.handler) or return release_unhandled(step, native)
          result = ActiveRecordConnections.release_after do
            Tracing.handle(execution, step) { call(handler.new, execution, step.timeout_ms) }
          end
          native.complete(step, JsonValue.generate(result, "result"))
        rescue JsonValue::Refused => e
          hand_in(step, native, e) { Failure.invalid_result(e) }
        rescue Exception => e # rubocop:disable Lint/RescueException -- whatever a handler raises is its attempt's outcome
          hand_in(step, native, e) { Failure.generate(e, execution.metadata) }
        end

        private

        # An attempt has an outcome, also when what the handler attached to it cannot be told: its slot would be lost.
        # @yieldreturn [String] JSON text
        def hand_in(step, native, error)
          native.fail(step, yield)
        rescue Exception # rubocop:disable Lint/RescueException -- of a patched JSON that makes no JSON
          native.fail(step, Failure.bare(error))
        end

        def release_unhandled(step, native)
          native.release_unhandled(step)
          true
        rescue Error => e
          Logging.log(Logger::WARN, :worker, "a step without a handler could not be given back; its claim expires",
                      task: step.task_id, step: step.name, error: e.message)
          true
        end

        def call(handler, execution, timeout_ms)
          return handler.call(execution) unless timeout_ms

          in_time(timeout_ms / 1000.0) { handler.call(execution) }
        end

        # What comes when the time is over does not count, whatever a handler makes of its interruption.
        def in_time(seconds, &block)
          deadline = now + seconds
          message = Failure.too_long(seconds)
          begin
            result = Timeout.timeout(seconds, Failure::AttemptTimeout, message, &block)
          rescue Exception => e # rubocop:disable Lint/RescueException -- it becomes the cause
            raise if e.is_a?(Failure::AttemptTimeout) || now < deadline
          else
            return result if now < deadline
          end
          raise Failure::AttemptTimeout, message, cause: e
        end

        def now
          Process.clock_gettime(Process::CLOCK_MONOTONIC)
        end
      end
    end
  end
end
