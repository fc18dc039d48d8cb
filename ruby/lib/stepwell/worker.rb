# frozen_string_literal: true

require "timeout"

module Stepwell
  # Executes steps on threads of this process. Claiming, heartbeats and reporting run on threads outside Ruby's lock.
  class Worker
    # @return [Array<String>] namespaces whose steps it takes
    attr_reader :namespaces
    # @return [Integer] steps that it executes at the same time
    attr_reader :concurrency
    # @api private
    attr_reader :connection

    # @param namespaces [Array<String>, String] whose steps it takes
    # @param concurrency [Integer, nil] threads; nil means the configured number (10)
    # @param database_url [String, nil] nil means the configured one, else the embedded orchestrator's of this process
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
      @mutex = Mutex.new
      @threads = []
    end

    # Starts claiming and executing.
    # @return [Worker] self
    # @raise [DatabaseError] when the database refuses, or cannot be reached
    # @raise [ConfigurationError] when there is no database
    def start
      raise Error, "the worker runs already" if running?

      @connection = @orchestrator&.connection || Stepwell.connection(@database_url)
      @connection.register(Stepwell.registry.definitions)
      @native = Native::Worker.start(@connection.database, @namespaces, @concurrency)
      @pid = Process.pid
      @stopping = false
      Stepwell.running.add(self)
      @concurrency.times { start_thread }
      self
    end

    # @return [Boolean]
    def running?
      !@native.nil? && Process.pid == @pid
    end

    # @return [String, nil] "host:pid:random", as it stands with the steps it executes; nil before the start
    def id
      @native&.id
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
      return true unless running?

      deadline = now + timeout
      @stopping = true
      quiet
      threads = @mutex.synchronize { @threads.dup }
      finished = threads.map { |thread| thread.join([deadline - now, 0].max) }.all?
      unfinished = @native.stop([deadline - now, 0].max)
      threads.each(&:kill)
      @native = nil
      Stepwell.running.delete(self)
      finished && unfinished.zero?
    end

    # @return [String]
    def inspect
      "#<Stepwell::Worker #{id || "stopped"} #{namespaces.join(",")} concurrency=#{concurrency}>"
    end

    # @api private
    def heartbeat(step, progress)
      @native.heartbeat(step, progress)
    end

    private

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    def start_thread
      @mutex.synchronize do
        @threads.select!(&:alive?)
        thread = Thread.new { run(@native) }
        thread.name = "stepwell worker"
        thread.report_on_exception = false
        @threads << thread
      end
    end

    # One thread: takes a step, executes it, hands in what became of it.
    def run(native)
      while (step = native.take)
        execute(native, step)
        step = nil
      end
      ended = true
    ensure
      unless ended # somebody killed the thread: another takes its place
        native.fail(step, Failure.killed) if step
        start_thread unless @stopping
      end
    end

    def execute(native, step)
      handler = Stepwell.registry.handler(step.handler)
      return native.release_unhandled(step) unless handler

      execution = StepExecution.new(step, self)
      begin
        result = call(handler.new, execution, step.timeout_ms)
        native.complete(step, JsonValue.generate(result))
      rescue JsonValue::Refused => e
        native.fail(step, Failure.invalid_result(e))
      rescue Exception => e # rubocop:disable Lint/RescueException -- whatever a handler raises is its attempt's outcome
        native.fail(step, Failure.generate(e, execution.metadata))
      end
    end

    def call(handler, execution, timeout_ms)
      return handler.call(execution) unless timeout_ms

      seconds = timeout_ms / 1000.0
      Timeout.timeout(seconds, Failure::AttemptTimeout, "the attempt took longer than #{seconds} s") do
        handler.call(execution)
      end
    end
  end
end
