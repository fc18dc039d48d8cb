# frozen_string_literal: true

require "timeout"

module Stepwell
  class Worker
    # The threads of a worker: each takes a step, executes it, and hands in what became of it. One whose handler does
    # not end when its time is over is killed and replaced.
    # @api private
    class ThreadPool
      # @param native [Native::Worker]
      # @param size [Integer] threads
      def initialize(native, size)
        @native = native
        @size = size
        @mutex = Mutex.new
        @threads = []
        @hung = []
        @owed = 0
        size.times { start_thread }
        @supervisor = start("stepwell supervisor") { supervise }
      end

      # Threads that end from here on are not replaced.
      def stopping
        @stopping = true
      end

      # @param deadline [Float, nil] on the monotonic clock; nil waits for all of them
      # @return [Boolean] whether all have ended
      def join(deadline)
        threads = @mutex.synchronize { @threads - @hung }
        threads.map do |thread|
          thread.join(deadline && [deadline - Process.clock_gettime(Process::CLOCK_MONOTONIC), 0].max)
        end.all?
      end

      # @return [Integer] threads that execute a step
      def busy
        @mutex.synchronize { @threads.count { |it| it.thread_variable_get(:stepwell_step) && it.alive? } }
      end

      def kill
        @mutex.synchronize { [*@threads, *@hung, @supervisor] }.each(&:kill)
      end

      private

      def start(name, &block)
        thread = Thread.new(&block)
        thread.name = name
        thread.report_on_exception = false
        thread
      end

      def start_thread
        @mutex.synchronize do
          @threads.select!(&:alive?)
          @threads << start("stepwell worker") { run }
        end
      end

      # One thread. It ends when nothing more will come, or when its place was given to another.
      def run
        while (step = @native.take)
          Thread.current.thread_variable_set(:stepwell_step, step) # seen also while the handler is in a Fiber
          return ended = true unless execute(step)

          Thread.current.thread_variable_set(:stepwell_step, step = nil)
        end
        ended = true
      ensure
        ActiveRecordConnections.release # logging and handlers' classes may borrow too
        killed = !ended && (step.nil? || @native.fail(step, Failure.killed))
        start_thread if (killed || owed?) && !@stopping
      end

      # @return [Boolean] whether the outcome counts; if not, the step was given up, and this thread's place with it
      def execute(step)
        handler = Stepwell.registry.handler(step.handler)
        unless handler
          release_unhandled(step)
          return true
        end

        execution = StepExecution.new(step, @native)
        begin
          result = ActiveRecordConnections.release_after do
            Tracing.handle(execution, step) { call(handler.new, execution, step.timeout_ms) }
          end
          @native.complete(step, JsonValue.generate(result))
        rescue JsonValue::Refused => e
          @native.fail(step, Failure.invalid_result(e))
        rescue Exception => e # rubocop:disable Lint/RescueException -- whatever a handler raises is its attempt's outcome
          @native.fail(step, Failure.generate(e, execution.metadata))
        end
      end

      def release_unhandled(step)
        @native.release_unhandled(step)
      rescue Error => e
        Logging.log(Logger::WARN, :worker, "a step without a handler could not be given back; its claim expires",
                    task: step.task_id, step: step.name, error: e.message)
      end

      def call(handler, execution, timeout_ms)
        return handler.call(execution) unless timeout_ms

        seconds = timeout_ms / 1000.0
        Timeout.timeout(seconds, Failure::AttemptTimeout, "the attempt took longer than #{seconds} s") do
          handler.call(execution)
        end
      end

      # Replaces threads whose attempts were ended because their handlers do not.
      def supervise
        while (step = @native.next_hung)
          thread = @mutex.synchronize { @threads.find { |it| executes?(it, step) } }
          if thread
            log(step, thread)
            @mutex.synchronize { @hung << thread } # before its end, which looks there
            thread.kill.join(0.2)
          end
          replace
        end
      end

      def executes?(thread, step)
        current = thread.thread_variable_get(:stepwell_step)
        current && current.task_id == step.task_id && current.name == step.name && current.attempt == step.attempt
      end

      # As many threads may hang as the worker has: what cannot be killed must not grow without end.
      def replace
        full = @mutex.synchronize do
          @hung.select!(&:alive?)
          @owed += 1 if @hung.size > @size
        end
        return start_thread unless full

        Logging.log(Logger::ERROR, :worker, "threads hang and cannot be killed: restart this process (kill -9)",
                    threads: @hung.size)
      end

      # @return [Boolean] whether this is a thread that hung, and its end makes room for one that was not started then
      def owed?
        @mutex.synchronize do
          next false unless @hung.delete(Thread.current) && @owed.positive?

          @owed -= 1
          true
        end
      end

      def log(step, thread)
        where = thread.backtrace&.first(5)&.join(" < ")
        Logging.log(Logger::ERROR, :step, "the handler does not end, its thread is killed", task: step.task_id,
                                                                                            step: step.name, at: where)
      end
    end
  end
end
