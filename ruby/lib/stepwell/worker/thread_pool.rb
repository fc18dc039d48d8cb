# frozen_string_literal: true

module Stepwell
  class Worker
    # The threads of a worker: each takes a step, executes it, and hands in what became of it. One whose handler does
    # not end when its time is over is killed and replaced.
    # @api private
    class ThreadPool
      # Seconds before a thread asks again for a step when that has failed: at first, and at most.
      PAUSE = 0.1
      LONGEST_PAUSE = 5.0

      # @param native [Native::Worker]
      # @param size [Integer] threads
      def initialize(native, size)
        @native = native
        @size = size
        @mutex = Mutex.new
        @stopped = ConditionVariable.new
        @threads = []
        @hung = []
        @owed = 0
        size.times { start_thread }
        @supervisor = start("stepwell supervisor") { supervise }
      end

      # Threads that end from here on are not replaced.
      def stopping
        @mutex.synchronize do
          @stopping = true
          @stopped.broadcast
        end
      end

      # @param deadline [Float, nil] on the monotonic clock; nil waits for all of them
      # @return [Boolean] whether all have ended
      def join(deadline)
        threads = @mutex.synchronize { @threads - @hung }
        threads.map { |thread| ended?(thread, deadline && [deadline - now, 0].max) }.all?
      end

      # @return [Integer] threads that execute a step
      def busy
        @mutex.synchronize { @threads.count { |it| it.thread_variable_get(:stepwell_step) && it.alive? } }
      end

      def kill
        @mutex.synchronize { [*@threads, *@hung, @supervisor] }.each(&:kill)
      end

      private

      def now
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end

      # @return [Boolean] whether a thread ends within so many seconds, however it does
      def ended?(thread, seconds)
        !thread.join(seconds).nil?
      rescue StandardError => e
        Logging.log(Logger::ERROR, :worker, "a thread has ended with an error", **Failure.fields(e))
        true
      end

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
        while (step = take)
          Thread.current.thread_variable_set(:stepwell_step, step) # seen also while the handler is in a Fiber
          return ended = true unless Attempt.execute(step, @native)

          Thread.current.thread_variable_set(:stepwell_step, step = nil)
        end
        ended = true
      ensure
        ActiveRecordConnections.release # logging and handlers' classes may borrow too
        killed = !ended && (step.nil? || @native.fail(step, Failure.killed))
        start_thread if (killed || owed?) && !@stopping
      end

      # The next step. A thread that ended because this fails would be replaced at once by one that meets the same.
      def take
        pause = PAUSE
        begin
          @native.take
        rescue StandardError => e
          Logging.log(Logger::ERROR, :worker, "a thread gets no step, it tries again", pause: pause,
                                                                                       **Failure.fields(e))
          @mutex.synchronize { @stopped.wait(@mutex, pause) unless @stopping }
          pause = [pause * 2, LONGEST_PAUSE].min
          @stopping ? nil : retry
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
