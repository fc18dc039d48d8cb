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
        threads.map { |thread| thread.join(deadline && [deadline - now, 0].max) }.all?
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

      def start(name, &block)
        # A thread that ends hears no interrupts, and the one that it starts would begin so.
        thread = Thread.new { Thread.handle_interrupt(Object => :immediate) { told(&block) } }
        thread.name = name
        thread.report_on_exception = false
        thread
      end

      # Whoever joins the thread has nothing to do with what it ends by.
      def told
        yield
      rescue Exception => e # rubocop:disable Lint/RescueException -- that is why
        Logging.log(Logger::ERROR, :worker, "a thread has ended with an error", **Failure.fields(e))
      end

      def start_thread
        @mutex.synchronize do
          @threads.select!(&:alive?)
          @threads << start("stepwell worker") { run }
        end
      end

      # One thread. It ends when nothing more will come, or when its place was given to another.
      def run
        held = [] # by the native worker, as it gives the step away: whatever reaches this thread then, it is not lost
        while retrying("a thread gets no step, it tries again") { held.first || @native.take(held) }
          step = held.first
          Thread.current.thread_variable_set(:stepwell_step, step) # seen also while the handler is in a Fiber
          return ended = true unless Attempt.execute(step, @native)

          Thread.current.thread_variable_set(:stepwell_step, held[0] = nil)
        end
        ended = true
      ensure
        leave(held&.first, ended)
      end

      # At the end of a thread, whatever it ends by. A kill that comes only now must not keep the step from its end, or
      # another thread from the place; and where it hits a thread that waits for a mutex, those behind it are not woken.
      def leave(step, ended)
        Thread.handle_interrupt(Object => :never) do
          killed = !ended && (step.nil? || @native.fail(step, Failure.killed(step)))
          start_thread if (killed || owed?) && !@stopping
        end
      ensure
        ActiveRecordConnections.release # logging and handlers' classes may borrow too
      end

      # What the block returns. It is tried again after a pause, because a thread that ended by an error would be
      # replaced at once by one that meets the same.
      # @return nil when it fails and the worker stops
      def retrying(message)
        pause = PAUSE
        begin
          yield
        rescue Exception => e # rubocop:disable Lint/RescueException -- whatever it is, the thread has more to do
          Logging.log(Logger::ERROR, :worker, message, pause: pause, **Failure.fields(e))
          @mutex.synchronize { @stopped.wait(@mutex, pause) unless @stopping }
          pause = [pause * 2, LONGEST_PAUSE].min
          @stopping ? nil : retry
        end
      end

      # Replaces threads whose attempts were ended because their handlers do not.
      def supervise
        while (step = retrying("hung handlers cannot be looked for, it is tried again") { @native.next_hung })
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
