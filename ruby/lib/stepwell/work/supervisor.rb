# frozen_string_literal: true

module Stepwell
  module Work
    # The process that forks workers and replaces those that die. It has loaded the application and does nothing else:
    # it opens no database and starts no threads, so its children start clean.
    # @api private
    class Supervisor
      # How often it looks after its children, in seconds.
      LOOK = 1.0
      # Seconds that children have to report and end when the time of what they ran is over.
      MARGIN = 5.0
      # The first process of a fleet may die this often before it works.
      STILLBIRTHS = 3

      # @param options [Options]
      # @param pidfile [File, nil] what children must not keep open
      # @raise [Failed] when the memory limit cannot be kept
      def initialize(options, pidfile = nil)
        @options = options
        @pidfile = pidfile
        @memory = Memory.new(options.memory_limit)
        @places = Array.new(options.processes) { |index| Place.new(index + 1, options.processes) }
        @orphans = Orphans.new(Orphans::OF_A_SUPERVISOR)
        @status = 0
      end

      # Works until this process is told to stop.
      # @return [Integer] exit status
      # @raise [Failed] when no process could be made to work
      def run
        namespaces = @options.namespaces.join(",")
        log(:info, "#{@places.size} processes for #{namespaces}; TERM stops them, QUIT quiets them")
        Process.setproctitle("stepwell work #{namespaces} [supervisor of #{@places.size}]")
        Worker::Signals.trap { |signals| supervise(signals) }
        raise Failed, @failure if @failure

        @status
      end

      private

      def supervise(signals)
        until @deadline && children.empty?
          fill
          wait(signals)
          heed(signals.next(0))
          attend
        end
      end

      def children
        @places.filter_map(&:child)
      end

      # Forks what is missing. The first process goes ahead: what keeps it from working would keep all.
      def fill
        return if @deadline || @quiet

        places = @proven ? @places : @places.first(1)
        places.each { |place| start(place) if place.until_due&.zero? }
      end

      def start(place)
        Stepwell.run_fork_hooks(:before, place.number)
        inherited = [*children.flat_map(&:pipes), @pidfile].compact
        place.take(Child.new(inherited) { |orders, told| Child.live(place, @options, orders, told) })
      rescue StandardError => e
        missed(place, "#{place.title} could not be forked", Work.describe(e))
      end

      def wait(signals)
        pipes = children.filter_map(&:to_wait_for)
        soon = 0.05 if pipes.size < children.size # those have said all, and are about to be gone
        due = @places.filter_map(&:until_due).select(&:positive?)
        readable, = IO.select([signals, *pipes], nil, nil, [LOOK, soon, *due].compact.min)
        children.each { |child| child.hear if readable&.include?(child.to_wait_for) }
      end

      def heed(signal)
        case signal
        when *Worker::Signals::STOP then stop
        when *Worker::Signals::QUIET
          @quiet = true
          children.each { |child| child.order("QUIT") }
        when Worker::Signals::DUMP then children.each { |child| child.order(signal) }
        end
      end

      def stop
        return if @deadline

        @deadline = Work.now + @options.timeout + MARGIN
        children.each do |child|
          child.order("TERM")
          child.deadline = @deadline
        end
      end

      def attend
        @places.select(&:child).each do |place|
          proven if place.child.working? && !@proven
          status = place.child.ended
          status ? ended(place, status) : hurry(place)
        end
        @orphans.reap(children.map(&:pid))
        @memory.look(@places) { |place, why| retire(place, why) } unless @deadline
      end

      def proven
        @proven = true
        log(:info, "the first process works")
      end

      def ended(place, status)
        child = place.child
        child.hear # its last words
        what = "#{place.title} #{child.describe_end(status)} after #{child.age.round(1)} s"
        return missed(place, what, child.reason) unless @deadline

        place.leave
        return if status == true || status.success?

        @status = 1
        log(:warn, "#{what}, while the fleet stopped")
      end

      # A process is gone that should be there, unless it was asked to go.
      def missed(place, what, reason)
        asked = place.child&.deadline
        delay = place.leave
        what = "#{what}: #{reason.chomp}" if reason
        return give_up(what) if !@proven && (reason || place.stillborn >= STILLBIRTHS)

        follows = @quiet ? "none follows while the fleet is quiet" : "the next one in #{delay.round(1)} s"
        log(asked ? :info : :warn, "#{what}; #{follows}")
      end

      def give_up(what)
        @failure = "no process could be made to work: #{what}"
        stop
      end

      def retire(place, why)
        log(:info, "#{place.title} #{why}: it finishes what it runs and is replaced")
        place.child.order("RETIRE")
        place.child.deadline = Work.now + @options.timeout + MARGIN
      end

      # What a killed process ran is tried again when its lease is over; that counts as an attempt, so a step that takes
      # too much memory is not tried for ever.
      def hurry(place)
        overdue = place.child.overdue(@options.start_timeout)
        return unless overdue

        log(:error, "#{place.title} #{overdue} and is killed")
        @status = 1 if @deadline
        place.child.kill
      end

      def log(level, text)
        Logging.log(Logger.const_get(level.upcase), :worker, "fleet: #{text}")
      end
    end
  end
end
