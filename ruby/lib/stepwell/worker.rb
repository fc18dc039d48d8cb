# frozen_string_literal: true

require_relative "worker/attempt"
require_relative "worker/thread_pool"
require_relative "worker/signals"
require_relative "worker/thread_dump"

module Stepwell
  # Executes steps on threads of this process. Claiming, heartbeats and reporting run on threads outside Ruby's lock.
  class Worker
    include OneLine

    # Seconds beyond its timeout that a trap waits for the end.
    TRAP_MARGIN = 10
    private_constant :TRAP_MARGIN

    # @return [Array<String>] namespaces whose steps it takes
    attr_reader :namespaces
    # @return [Integer] steps that it executes at the same time
    attr_reader :concurrency
    # @api private
    attr_reader :connection

    # @param namespaces [Array<String>, String] whose steps it takes, from whichever databases they live on
    # @param concurrency [Integer, nil] threads; nil means the configured number (10)
    # @param database_url [String, nil] nil means the configured one, else the embedded orchestrator's of this process,
    #   else the private PostgreSQL that another process has made in the working directory
    # @param orchestrator [Orchestrator, nil] one of this process, to share its database
    def initialize(namespaces:, concurrency: nil, database_url: nil, orchestrator: nil)
      @namespaces = Array(namespaces).map { |namespace| Argument.text(:namespaces, namespace) }
      raise ValidationError, "namespaces: name at least one" if @namespaces.empty?

      @concurrency = Argument.integer(:concurrency, concurrency || Stepwell.configuration.load.concurrency, 1..1000)
      @database_url = Argument.optional_text(:database_url, database_url)
      unless orchestrator.nil? || orchestrator.is_a?(Orchestrator)
        raise ValidationError, "orchestrator: must be a Stepwell::Orchestrator, not #{Argument.a(orchestrator)}"
      end

      @orchestrator = orchestrator
    end

    # Starts claiming and executing.
    # @return [Worker] self
    # @raise [DatabaseError] when the database refuses, or cannot be reached; of several, one that is away is tried
    #   again, unless all are
    # @raise [ConfigurationError] when there is no database
    def start
      raise Error, "the worker runs already" if running?

      @connection = @orchestrator&.connection || Stepwell.connection(@database_url)
      @connection.register(Stepwell.registry.definitions, namespaces: @namespaces)
      @native = Native::Worker.start(@connection.database, @namespaces, @concurrency)
      @pid = Process.pid
      Stepwell.running.add(self)
      @threads = ThreadPool.new(@native, @concurrency)
      self
    end

    # Works until this process is told to stop, then stops as {stop} does. For a process that is nothing but a worker.
    # SIGTERM, SIGINT and SIGHUP stop it, however often they come; SIGQUIT and SIGTSTP make it {quiet}; SIGTTIN logs
    # what each thread executes. What else a terminal, a container or a deploy tool sends is ignored, unless the
    # application has a trap of its own. It starts the worker unless that runs already, and returns also when somebody
    # else stops it.
    # @param timeout [Numeric, nil] seconds that what runs has to finish; nil and Float::INFINITY: as long as it takes
    # @return [Boolean] whether everything that ran has finished
    # @raise [DatabaseError] when the database refuses, or cannot be reached
    # @raise [ConfigurationError] when there is no database
    # @raise [ValidationError] for what is no number of seconds
    def run(timeout: 20)
      timeout = Argument.patience(:timeout, timeout)
      Signals.trap do |signals|
        start unless running?
        while running?
          case signals.next(1)
          when *Signals::QUIET then quiet
          when Signals::DUMP then ThreadDump.log
          when String then return stop(timeout: timeout)
          end
        end
        true
      end
    end

    # @return [Boolean]
    def running?
      !@native.nil? && Process.pid == @pid
    end

    # @return [String, nil] "host:pid:random", as it stands with the steps it executes; nil before the start
    def id
      @native&.id
    end

    # @return [Integer] steps that it executes now
    def busy
      running? ? @threads.busy : 0
    end

    # Stops claiming and gives back what it has not started. What runs goes on. It may stand in a trap.
    # @return [void]
    def quiet
      TrapContext.leave(TRAP_MARGIN) { @native&.quiet if running? }
      nil
    end

    # Stops claiming, lets what runs finish within the timeout, reports the results, and gives back what still runs with
    # the attempt not counted. A second call does nothing. It may stand in a trap: `trap("TERM") { worker.stop; exit }`.
    # @param timeout [Numeric, nil] seconds, none when it is negative; nil and Float::INFINITY: as long as it takes
    # @return [Boolean] whether everything that ran has finished
    # @raise [ValidationError] for what is no number of seconds
    def stop(timeout: 20)
      patience = Argument.patience(:timeout, timeout)
      TrapContext.leave(patience && (patience + TRAP_MARGIN)) { stop_within(patience) } || false
    end

    private

    def summary
      [id || "stopped", namespaces.join(","), "concurrency=#{concurrency}"]
    end

    # @param patience [Float, nil] seconds
    def stop_within(patience)
      native = @native # another thread may stop it at the same time
      return true unless native && running?

      deadline = patience && (now + patience)
      @threads.stopping
      native.quiet
      finished = @threads.join(deadline)
      unfinished = native.stop(deadline && [deadline - now, 0].max)
      @threads.kill
      @native = nil
      Stepwell.running.delete(self)
      finished && unfinished.zero?
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
