# frozen_string_literal: true

module Stepwell
  module Work
    # A forked process as its supervisor sees it. Two pipes join them: by one it is told what to do, which no signal can
    # do before its traps are set; by the other it tells that it works, or why it cannot. When the supervisor dies,
    # however that happens, the first one ends, and the child stops as upon SIGTERM.
    # @api private
    class Child
      WORKS = "works\n"
      private_constant :WORKS

      # @return [Integer]
      attr_reader :pid
      # @return [Float, nil] when it is killed unless it has ended, on the monotonic clock
      attr_accessor :deadline

      # @param inherited [Array<IO>] what is the supervisor's alone, and to be closed in the child
      # @yield in the child
      # @yieldparam orders [IO]
      # @yieldparam told [IO]
      def initialize(inherited)
        orders, @orders = IO.pipe
        @told, told = IO.pipe
        @said = +""
        @started_at = Work.now
        @pid = Process.fork do
          [*inherited, @orders, @told].each(&:close)
          yield orders, told
        end
        [orders, told].each(&:close)
      end

      # What happens in the child.
      # @param place [Place]
      # @param options [Options]
      # @param orders [IO]
      # @param told [IO]
      def self.live(place, options, orders, told)
        Runner.new(options, place: place.to_s, orders: orders).run do |worker|
          start(worker, place.number, told) { Endpoint.serve(options, worker, place.number) }
        end
      end

      def self.start(worker, number, told)
        Stepwell.run_fork_hooks(:after, number)
        worker.start
        yield
        tell(told, WORKS)
      rescue StandardError, ScriptError => e
        tell(told, Work.describe(e))
        exit(1)
      end

      def self.tell(told, text)
        told.write(text)
      rescue Errno::EPIPE
        nil # the supervisor has ended, which the other pipe says
      end
      private_class_method :start, :tell

      # @param name [String] TERM, QUIT, TTIN or RETIRE
      def order(name)
        @orders.write_nonblock("#{name}\n", exception: false)
      rescue Errno::EPIPE
        nil # it has ended, and will be seen to have
      end

      # @return [IO, nil] to wait for; nil when nothing more will come
      def to_wait_for
        @told unless @heard_all
      end

      # Takes in what it has told.
      def hear
        case (text = @told.read_nonblock(65_536, exception: false))
        when String then @said << text
        when nil then @heard_all = true
        end
      end

      # @return [Boolean] whether its worker started
      def working?
        @said.start_with?(WORKS)
      end

      # @return [String, nil] why it could not start
      def reason
        @said unless working? || @said.empty?
      end

      # @return [Float] seconds since it was forked
      def age
        Work.now - @started_at
      end

      # @return [Process::Status, Boolean] false while it lives; true when somebody else took its status
      def ended
        _, status = Process.wait2(@pid, Process::WNOHANG)
        status || false
      rescue Errno::ECHILD
        true
      end

      # @param start_timeout [Numeric] seconds: a hook that does not end would leave its place empty, and
      #   nobody would know
      # @return [String, nil] why it is to be killed, unless it has been already
      def overdue(start_timeout)
        return if @killed
        return "does not end in time" if deadline&.<(Work.now)

        "has not started within #{start_timeout} s (--start-timeout)" if starts? && age > start_timeout
      end

      def kill
        @killed = true
        Process.kill("KILL", @pid)
      rescue Errno::ESRCH
        nil
      end

      # @param status [Process::Status, true] see {#ended}
      # @return [String] for people
      def describe_end(status)
        return "did not start and was killed" if @killed && starts?
        return "ended" if status == true
        return "was killed by SIG#{Signal.signame(status.termsig)}" if status.signaled?

        "ended with status #{status.exitstatus}"
      end

      # @return [Array<IO>] this side of its pipes
      def pipes
        [@orders, @told].reject(&:closed?)
      end

      private

      def starts?
        !working? && deadline.nil?
      end
    end
  end
end
