# frozen_string_literal: true

# What runs in this process, and its links to databases.
module Stepwell
  @running = Running.new
  @connections = {}
  @clusters = {}
  @mutex = Mutex.new

  class << self
    # @api private
    attr_reader :running

    # The link to the given database, else the configured one, else the embedded orchestrator's of this process, else
    # the private PostgreSQL that another process has made in the working directory.
    # @api private
    # @raise [ConfigurationError] when there is none
    def connection(database_url = nil)
      url = Argument.optional_text(:database_url, database_url)&.strip
      url = configuration.load.database_url if url.nil? || url.empty?
      orchestrators = running.grep(Orchestrator).select(&:running?)
      near = url ? orchestrators.find { |orchestrator| orchestrator.database_url == url } : orchestrators.last
      return near.connection if near

      url ||= private_url
      return connect(url) if url

      raise ConfigurationError, "no database: set DATABASE_URL, or Stepwell.configure { |c| c.database_url = … }, " \
                                "or start Stepwell::Orchestrator.embedded in this process"
    end

    # Ends this process's links to databases that submits have made; the next one makes its own. Orchestrators and
    # workers keep theirs.
    # @return [void]
    def disconnect
      connections = @mutex.synchronize { @connections.tap { @connections = {} } }
      connections.each { |(pid, _url), connection| connection.database.close if pid == Process.pid }
    ensure
      leave_private_cluster if running.grep(Worker).none?(&:running?)
    end

    # Stops what still runs, workers first, and sends off what was traced. What one of them raises is logged, and keeps
    # none of the others. Called at the end of the process.
    # @api private
    def stop_all
      links = @connections.to_a.filter_map { |(pid, _url), connection| connection.database if pid == Process.pid }
      end_each(links, &:flush_traces)
      end_each(running.grep(Worker)) { |worker| worker.stop(timeout: 5) }
      end_each(running.grep(Orchestrator), &:stop)
      end_each([self], &:disconnect) if @clusters.key?(Process.pid)
    end

    private

    def end_each(objects)
      objects.each do |object|
        yield object
      rescue StandardError => e
        log_failed_end(object, e)
      end
    end

    def log_failed_end(object, error)
      Logging.log(Logger::ERROR, :health, "it did not end as it should", what: object.inspect, error: error.message)
    rescue StandardError
      nil # a logger of the application that is closed already keeps nothing from its end
    end

    # @return [String, nil] of the private PostgreSQL in the working directory, if there is one: it is in use now
    def private_url
      @mutex.synchronize { @clusters[Process.pid] ||= Native::Cluster.join(configuration.load) }&.url
    end

    # The last one out stops the server.
    def leave_private_cluster
      @mutex.synchronize { @clusters.delete(Process.pid) }&.leave
    end

    # Links to databases are shared by their URL, within one process: a forked child makes its own.
    def connect(url)
      @mutex.synchronize do
        @connections[[Process.pid, url]] ||=
          Connection.new(Native::Database.connect(url, configuration.load(database_url: url)))
      end
    end
  end

  at_exit do
    stop_all
  ensure
    Logging.finish
  end
end
