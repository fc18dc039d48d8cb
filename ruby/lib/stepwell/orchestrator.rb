# frozen_string_literal: true

module Stepwell
  # An orchestrator that runs inside this process, on threads of its own outside Ruby's lock.
  class Orchestrator
    include OneLine

    # Starts an orchestrator: on the given or configured database, else on a private PostgreSQL in the working
    # directory, which is started, or shared when another process has started it. It serves the databases of the
    # namespaces that have their own too.
    # @param database_url [String, nil] "postgres://…"; nil means the configured one, DATABASE_URL, or the private one
    # @yieldparam orchestrator [Orchestrator] with a block the orchestrator is stopped at its end
    # @return [Orchestrator, Object] the orchestrator, or what the block returned
    # @raise [ConfigurationError] when PostgreSQL is not installed or cannot be started
    # @raise [DatabaseError] when the database refuses, or cannot be reached
    # @raise [ValidationError] when a workflow is registered with other content
    def self.embedded(database_url: nil)
      database_url = Argument.optional_text(:database_url, database_url)
      config = Stepwell.configuration.load(database_url: database_url)
      orchestrator = new(Native::Orchestrator.embedded(config))
      return orchestrator unless block_given?

      begin
        yield orchestrator
      ensure
        orchestrator.stop
      end
    end

    # Seconds that a trap waits for the end.
    LONGEST_TRAP = 60
    private_constant :LONGEST_TRAP

    # @api private
    attr_reader :connection

    # @api private
    def initialize(native)
      @native = native
      @pid = Process.pid
      @connection = Connection.new(native.database)
      Stepwell.running.add(self)
      @connection.register(Stepwell.registry.definitions)
    rescue StandardError
      stop
      raise
    end

    # Stops the workers of this process that share its database link, the loops after the transactions under way, and
    # the private PostgreSQL when nobody else uses it. A second call does nothing. It may stand in a trap.
    # @return [void]
    def stop
      Stepwell.running.delete(self)
      TrapContext.leave(LONGEST_TRAP) { stop_all } if Process.pid == @pid
      nil
    end

    # @return [Boolean]
    def running?
      Process.pid == @pid && @native.running?
    end

    # @return [String] URL of its database with its credentials; works with psql, also for the private PostgreSQL
    def database_url
      @connection.url
    end

    # @return [Hash] running:, database: (URL without credentials), uptime: (seconds), summary: (counts since the
    #   start; rates: per second over the last minute; namespaces: the ten with the most steps, by all orchestrators of
    #   their database, as of the last three seconds; warnings: the last 50 of its loops, each with at: (seconds since
    #   1970), component: and message:), databases: (each with database:, namespaces: that have
    #   been put there, running: and summary:), queues: (an Array of {QueueStatus}; nil when a database does not answer)
    def status
      JSON.parse(@native.status, symbolize_names: true).merge(queues: queues)
    end

    # Submits a task to this orchestrator's database; see {Stepwell.submit}.
    # @return [Task]
    def submit(workflow, context = {}, **options)
      @connection.submit({ workflow: workflow, context: context, **options })
    end

    private

    def summary
      [@connection && Native.mask_url(database_url), running? ? "running" : "stopped"]
    end

    def stop_all
      Stepwell.running.grep(Worker).each { |worker| worker.stop if worker.connection.equal?(@connection) }
    ensure
      @native.stop
    end

    def queues
      QueueStatus.parse(@connection.client.queues)
    rescue Error
      nil
    end
  end
end
