# frozen_string_literal: true

require_relative "worker/thread_pool"
require_relative "worker/signals"

module Stepwell
  # Executes steps on threads of this process. Claiming, heartbeats and reporting run on threads outside Ruby's lock.
  class Worker
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
      @namespaces = Array(namespaces).map(&:to_s)
      raise ValidationError, "namespaces: name at least one" if @namespaces.empty?

      @concurrency = concurrency || Stepwell.configuration.load.concurrency
      unless @concurrency.is_a?(Integer) && @concurrency.between?(1, 1000)
        raise ValidationError, "concurrency: #{@concurrency.inspect} must be an Integer from 1 to 1000"
      end

      @database_url = database_url
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
    # SIGTERM and SIGINT stop it, however often they come; SIGQUIT and SIGTSTP make it {quiet}. It starts the worker
    # unless that runs already, and returns also when somebody else stops it.
    # @param timeout [Numeric] seconds that what runs has to finish
    # @return [Boolean] whether everything that ran has finished
    # @raise [DatabaseError] when the database refuses, or cannot be reached
    # @raise [ConfigurationError] when there is no database
    def run(timeout: 20)
      Signals.trap do |signals|
        start unless running?
        while running?
          case signals.next(1)
          when "QUIT", "TSTP" then quiet
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

    # Stops claiming and gives back what it has not started. What runs goes on.
    # @return [void]
    def quiet
      @native.quiet if running?
    end

    # Stops claiming, lets what runs finish within the timeout, reports the results, and gives back what still runs with
    # the attempt not counted. A second call does nothing.
    # @param timeout [Numeric] seconds
    # @return [Boolean] whether everything that ran has finished
    def stop(timeout: 20)
      native = @native # another thread may stop it at the same time
      return true unless native && running?

      deadline = now + timeout
      @threads.stopping
      native.quiet
      finished = @threads.join(deadline)
      unfinished = native.stop([deadline - now, 0].max)
      @threads.kill
      @native = nil
      Stepwell.running.delete(self)
      finished && unfinished.zero?
    end

    # @return [String]
    def inspect
      "#<Stepwell::Worker #{id || "stopped"} #{namespaces.join(",")} concurrency=#{concurrency}>"
    end

    private

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
