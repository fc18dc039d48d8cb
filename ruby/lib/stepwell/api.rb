# frozen_string_literal: true

# The module's own methods: definitions, settings, submits.
module Stepwell
  @registry = Registry.new
  @configuration = Configuration.new

  class << self
    # @api private
    attr_reader :registry

    # Defines a workflow. It is checked at once, and registered in the database when an orchestrator or a worker starts
    # or a task is submitted.
    # @param full_name [String] "namespace/name"
    # @param version [String] any text of up to 64 characters; other content needs another version
    # @param description [String, nil] for people
    # @param input_schema [Hash, nil] JSON schema that a task's context must match
    # @param priority [Symbol, String, Integer, nil] of tasks that ask for none: :low, :normal, :high, :urgent,
    #   -10..10
    # @param timeout [Numeric, String, nil] seconds from submit after which a task is overdue, or a text with its unit
    #   such as "10m"; nil, and Float::INFINITY, mean never
    # @param concurrency [Hash, nil] key: a key of the context, with dots to what stands inside ("customer.id"), and
    #   limit: how many steps may be on their way at the same time of tasks with the same value there
    # @yield the steps; see {WorkflowBuilder#step}
    # @return [void]
    # @raise [ValidationError] naming each field and step that is wrong
    def workflow(full_name, version: "1.0.0", description: nil, input_schema: nil, priority: nil, timeout: nil,
                 concurrency: nil, &block)
      full_name = Argument.text("the workflow's name", full_name)
      raise ValidationError, "workflow #{full_name}: give a block with its steps" unless block

      builder = WorkflowBuilder.new(full_name)
      builder.instance_eval(&block)
      namespace, name = full_name.split("/", 2)
      definition = { namespace: namespace, name: name.to_s, version: version, description: description,
                     input_schema: input_schema, priority: priority, timeout: builder.timeout("timeout", timeout),
                     concurrency: concurrency, steps: builder.steps }.compact
      registry.add(Native::Workflow.from_json(JsonValue.generate(definition)), builder.handlers)
    rescue JsonValue::Refused => e
      raise ValidationError, "workflow #{full_name} #{e.message}"
    end

    # Defines the workflows of the YAML files in a directory, one a file. A step's handler is the name of a class that
    # is loaded already. What editors and systems leave beside them, hidden files and copies, is no workflow file.
    # @param directory [String, Pathname] where *.yml and *.yaml files are
    # @return [Array<String>] the files
    # @raise [ValidationError] naming the file and each field and step that is wrong
    # @raise [ConfigurationError] when there is no such directory, or a file cannot be read
    def load_workflows(directory)
      raise ConfigurationError, "there is no directory #{directory}" unless File.directory?(directory.to_s)

      names = Dir.children(directory).select { |name| name.b.match?(/\A[^.].*\.ya?ml\z/in) }.sort
      files = names.map { |name| File.join(directory, name) }.reject { |file| File.directory?(file) }
      strange = files.find { |file| File.exist?(file) && !File.file?(file) } # to read it could take for ever
      raise ConfigurationError, "#{strange} is no file, but a #{File.ftype(strange)}" if strange

      files.each { |file| load_workflow(file) }
    end

    # Submits a task.
    # @param workflow [String] "namespace/name"
    # @param context [Hash] any JSON object; symbol keys become strings
    # @param options [Hash] priority: (:low, :normal, :high, :urgent, -10..10), idempotency_key:, version: (by default
    #   the newest of those that this process has defined; where it has defined none, the newest registered),
    #   correlation_id:, tags:, trace_context: ("traceparent" and perhaps "tracestate" as W3C says them; by default that
    #   of the current span where an OpenTelemetry SDK is loaded)
    # @return [Task] the new task, or the one that the idempotency key stands for
    # @raise [ValidationError] naming each field that is wrong, or an unknown workflow
    # @raise [DatabaseError] when the database refuses, or cannot be reached
    def submit(workflow, context = {}, **options)
      connection.submit({ workflow: workflow, context: context, **options })
    end

    # Submits many tasks, a round trip and a transaction for each thousand, and for each database that their namespaces
    # live on. When one of several transactions fails, those before it stay, and {Error#submitted} of what is raised
    # has their tasks. Where requests have idempotency keys, the same call can be made again: it returns the tasks that
    # there are, and submits the others.
    # @param requests [Array<Hash>] workflow:, context:, and the options of {submit}; the keys Symbols or Strings
    # @return [Array<Task>] in the order of the requests
    # @raise [ValidationError] naming each request and field that is wrong; then none has been submitted
    # @raise [DatabaseError] when the database refuses, or cannot be reached
    def submit_all(requests)
      requests == [] ? [] : connection.submit_all(requests)
    end

    # @param id [String] uuid of a task
    # @return [Task] as it is now
    # @raise [ValidationError] when there is no such task
    def task(id)
      Task.new(connection, Argument.text(:id, id)).refresh
    end

    # Waits until all of these tasks are in a terminal state.
    # @param tasks [Array<Task>] of one connection; their namespaces may live on several databases
    # @param timeout [Numeric, nil] seconds, none when it is negative; nil and Float::INFINITY wait for ever
    # @yieldparam finished [Integer] how many have finished, at first and when that has changed
    # @yieldparam total [Integer]
    # @return [Array<Task>] the tasks, refreshed; one that has finished and was removed meanwhile (retention) stays as
    #   it was read last
    # @raise [WaitTimeout]
    # @raise [ValidationError] for what is no task, or no number of seconds
    def wait_all(tasks, timeout: nil)
      timeout = Argument.patience(:timeout, timeout)
      ids = task_ids(tasks)
      return [] if ids.empty?

      client = tasks.first.connection.client
      if block_given?
        client.wait(ids, timeout) { |finished| yield finished, ids.size }
      else
        client.wait(ids, timeout)
      end
      tasks.zip(client.tasks(ids)) { |task, row| task.adopt(row) if row }
      tasks
    end

    # Changes settings. When the block ends they are checked as a whole; when something is wrong with them, or the block
    # raises, all stay as they were.
    # @yieldparam configuration [Configuration]
    # @return [Configuration]
    # @raise [ConfigurationError] naming each setting that is wrong
    def configure(&block)
      configuration.change(&block) if block
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

    private

    def task_ids(tasks)
      raise ValidationError, "tasks: must be an Array of tasks, not #{Argument.a(tasks)}" unless tasks.is_a?(Array)

      tasks.each_with_index.map do |task, index|
        next task.id if task.is_a?(Task)

        raise ValidationError, "tasks: number #{index} must be a Stepwell::Task, not #{Argument.a(task)}"
      end
    end

    def load_workflow(file)
      yaml = File.read(file, encoding: "UTF-8")
      raise ValidationError, "is not UTF-8" unless yaml.valid_encoding?

      definition = Native::Workflow.from_yaml(yaml, configuration.environment&.to_s || Native.environment)
      content = JSON.parse(definition.to_json)
      handlers = content["steps"].to_h { |step| [step["handler"], named_class(step["handler"], step["name"])] }
      registry.add(definition, handlers)
    rescue ValidationError => e
      raise ValidationError, "#{file}: #{e.message}"
    rescue SystemCallError => e
      raise ConfigurationError, "#{file} cannot be read: #{e.message}"
    end

    # A class by the name that stands in a file of the application; never by one that came out of the database.
    def named_class(name, step)
      handler = Object.const_get(name)
      return handler if handler.is_a?(Class) && handler.method_defined?(:call)

      raise ValidationError, "step #{step}: #{name} is no handler: give a class whose instances answer call(step)"
    rescue NameError => e
      raise ValidationError, "step #{step}: there is no class #{name}; load it before the workflows (#{e.message})"
    end
  end
end
