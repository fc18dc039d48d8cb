# frozen_string_literal: true

module Specs
  # A fresh database for each example that asks for one, and what runs on it.
  module Databases
    # @return [String] URL of this example's database
    def database_url
      @database_url ||= new_database
    end

    # @return [String] URL of one more database
    def new_database
      Cluster.create_database.tap { |url| (@databases ||= []) << url }
    end

    def psql(sql, url: database_url)
      Cluster.psql(url, sql)
    end

    # From here on new sessions of this example's database tell the server's log what they ask for.
    def log_statements
      psql("alter database #{database_url[%r{/(\w+)\?}, 1]} set log_statement = 'all'")
    end

    # @return [Array<String>] first lines of the statements of such sessions while the block ran
    def statements
      log = File.join(File.dirname(psql("show data_directory")), "postgres.log")
      from = File.size(log)
      yield
      psql("select 'the end'")
      eventually { File.binread(log, nil, from).include?("the end") }
      File.binread(log, nil, from).scan(/LOG:  (?:execute|statement)[^:]*:\s*(.*)$/).flatten - ["select 'the end'"]
    end

    # @return [Array<String>] violations of the invariants
    def check_invariants(url: database_url)
      psql("select * from stepwell.check_invariants()", url: url).lines(chomp: true)
    end

    # @return [Stepwell::Orchestrator] stopped at the end of the example
    def start_orchestrator(url: database_url)
      stopped_at_the_end Stepwell::Orchestrator.embedded(database_url: url)
    end

    # @return [Stepwell::Worker] stopped at the end of the example, before the orchestrators
    def start_worker(*namespaces, **options)
      namespaces = ["spec"] if namespaces.empty?
      options[:database_url] = database_url unless options.key?(:database_url) || options.key?(:orchestrator)
      stopped_at_the_end Stepwell::Worker.new(namespaces: namespaces, **options).start
    end

    # Runs the workflows that have been defined: one orchestrator, one worker.
    def start_stepwell(*namespaces, **options)
      start_orchestrator
      start_worker(*namespaces, **options)
    end

    # @api private
    def clean_up
      (@stopped_at_the_end || []).sort_by { |it| it.is_a?(Stepwell::Worker) ? 0 : 1 }.each(&:stop)
    end

    # @api private
    # @return [Array<String>] what this example leaves behind and must not
    def leaks
      running_leaks + thread_leaks + (@databases || []).flat_map do |url|
        check_invariants(url: url).map { |row| "invariant violated: #{row}" }
      end
    end

    # @api private
    def drop_databases
      Stepwell.disconnect
      (@databases || []).each { |url| Cluster.drop_database(url) }
    end

    private

    def running_leaks
      left = Stepwell.running.to_a
      Stepwell.stop_all
      left.map { |it| "still running: #{it.inspect}" }
    end

    def thread_leaks
      threads = Thread.list.select { |thread| thread.name == "stepwell worker" && thread.alive? }
      threads.map { |thread| "still alive: #{thread.inspect}" }
    end

    def stopped_at_the_end(it)
      (@stopped_at_the_end ||= []) << it
      it
    end
  end
end
