# frozen_string_literal: true

# The module's own methods: definitions, settings, submits.
module Stepwell
  @registry = Registry.new
  @configuration = Configuration.new
  @running = Set.new
  @connections = {}
  @clusters = {}
  @mutex = Mutex.new

  class << self
    # @api private
    attr_reader :registry, :running

    # Defines a workflow. It is checked at once, and registered in the database when an orchestrator or a worker starts
    # or a task is submitted.
    # @param full_name [String] "namespace/name"
    # @param version [String] any text of up to 64 characters; other content needs another version
    # @param description [String, nil] for people
    # @param input_schema [Hash, nil] JSON schema that a task's context must match
    # @param priority [Symbol, String, Integer, nil] of tasks that ask for none: :low, :normal, :high, :urgent,
    #   -10..10
    # @param timeout [Numeric, nil] seconds from submit after which a task is overdue
    # @param concurrency [Hash, nil] key: a key of the context, with dots to what stands inside ("customer.id"), and
    #   limit: how many steps may be on their way at the same time of tasks with the same value there
    # @yield the steps; see {WorkflowBuilder#step}
    # @return [void]
    # @raise [ValidationError] naming each field and step that is wrong
    def workflow(full_name, version: "1.0.0", description: nil, input_schema: nil, priority: nil, timeout: nil,
                 concurrency: nil, &block)
      raise ValidationError, "workflow #{full_name}: give a block with its steps" unless block

      builder = WorkflowBuilder.new(full_name.to_s)
      builder.instance_eval(&block)
      namespace, name = full_name.to_s.split("/", 2)
      definition = { namespace: namespace, name: name.to_s, version: version, description: description,
                     input_schema: input_schema, priority: priority, timeout: timeout, concurrency: concurrency,
                     steps: builder.steps }.compact
      registry.add(Native::Workflow.from_json(JsonValue.generate(definition)), builder.handlers)
    rescue JsonValue::Refused => e
      raise ValidationError, "workflow #{full_name} #{e.message}"
    end

    # Defines the workflows of the YAML files in a directory, one a file. A step's handler is the name of a class that
    # is loaded already.
    # @param directory [String] where *.yml and *.yaml files are
    # @return [Array<String>] the files
    # @raise [ValidationError] naming the file and each field and step that is wrong
    # @raise [ConfigurationError] when there is no such directory
    def load_workflows(directory)
      raise ConfigurationError, "there is no directory #{directory}" unless File.directory?(directory)

      files = Dir.children(directory).grep(/\.ya?ml\z/).sort.map { |name| File.join(directory, name) }
      files.each { |file| load_workflow(file) }
    end

    # Submits a task.
    # @param workflow [String] "namespace/name"
    # @param context [Hash] any JSON object; symbol keys become strings
    # @param options [Hash] priority: (:low, :normal, :high, :urgent, -10..10), idempotency_key:, version: (by default
    #   the newest registered), correlation_id:, tags:, trace_context: ("traceparent" and perhaps "tracestate" as W3C
    #   says them; by default that of the current span where an OpenTelemetry SDK is loaded)
    # @return [Task] the new task, or the one that the idempotency key stands for
    # @raise [ValidationError] naming each field that is wrong, or an unknown workflow
    # @raise [DatabaseError] when the database refuses, or cannot be reached
    def submit(workflow, context = {}, **options)
      connection.submit_all([{ workflow: workflow, context: context, **options }]).first
    end

    # Submits many tasks, a round trip and a transaction for each thousand, and for each database that their namespaces
    # live on.
    # @param requests [Array<Hash>] workflow:, context:, and the options of {submit}
    # @return [Array<Task>] in the order of the requests
    # @raise [ValidationError] naming each request and field that is wrong; then none has been submitted
    def submit_all(requests)
      requests.empty? ? [] : connection.submit_all(requests)
    end

    # @param id [String] uuid of a task
    # @return [Task] as it is now
    # @raise [ValidationError] when there is no such task
    def task(id)
      Task.new(connection, id).refresh
    end

    # Waits until all of these tasks are in a terminal state.
    # @param tasks [Array<Task>] of one connection; their namespaces may live on several databases
    # @param timeout [Numeric, nil] seconds; nil waits for ever
    # @yieldparam finished [Integer] how many have finished, each time that changes
    # @yieldparam total [Integer]
    # @return [Array<Task>] the tasks, refreshed
    # @raise [WaitTimeout]
    def wait_all(tasks, timeout: nil)
      return [] if tasks.empty?

      ids = tasks.map(&:id)
      client = tasks.first.connection.client
      if block_given?
        client.wait(ids, timeout&.to_f) { |finished| yield finished, ids.size }
      else
        client.wait(ids, timeout&.to_f)
      end
      tasks.zip(client.tasks(ids)) { |task, row| task.adopt(row) }
      tasks
    end

    # @yieldparam configuration [Configuration]
    # @return [Configuration]
    def configure
      yield configuration if block_given?
      configuration
    end

    # The settings in force, from wherever they come: files, environment, {configure}. Credentials are masked.
    # @return [Hash{Symbol => Hash{Symbol => Object}}] section => key => value as in config/stepwell.yml; durations are
    #   texts such as "60s"
    # @raise [ConfigurationError] when something is wrong with them
    def config
      configuration.effective
    end

    # @api private
    attr_reader :configuration

    # The link to the given database, else the configured one, else the embedded orchestrator's of this process, else
    # the private PostgreSQL that another process has made in the working directory.
    # @api private
    # @raise [ConfigurationError] when there is none
    def connection(database_url = nil)
      url = database_url || configuration.load.database_url
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
      leave_private_cluster if running.grep(Worker).none?(&:running?)
    end

    # Stops what still runs, workers first, and sends off what was traced. Called at the end of the process.
    # @api private
    def stop_all
      @connections.each { |(pid, _url), connection| connection.database.flush_traces if pid == Process.pid }
      running.to_a.grep(Worker).each { |worker| worker.stop(timeout: 5) }
      running.to_a.grep(Orchestrator).each(&:stop)
      disconnect if @clusters.key?(Process.pid)
    end

    private

    def load_workflow(file)
      yaml = File.read(file, encoding: "UTF-8")
      raise ValidationError, "is not UTF-8" unless yaml.valid_encoding?

      definition = Native::Workflow.from_yaml(yaml, configuration.environment&.to_s || Native.environment)
      content = JSON.parse(definition.to_json)
      handlers = content["steps"].to_h { |step| [step["handler"], named_class(step["handler"], step["name"])] }
      registry.add(definition, handlers)
    rescue ValidationError => e
      raise ValidationError, "#{file}: #{e.message}"
    end

    # A class by the name that stands in a file of the application; never by one that came out of the database.
    def named_class(name, step)
      handler = Object.const_get(name)
      return handler if handler.is_a?(Class) && handler.method_defined?(:call)

      raise ValidationError, "step #{step}: #{name} is no handler: give a class whose instances answer call(step)"
    rescue NameError => e
      raise ValidationError, "step #{step}: there is no class #{name}; load it before the workflows (#{e.message})"
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
