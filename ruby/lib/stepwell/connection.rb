# frozen_string_literal: true

module Stepwell
  # This process's link to one database, and to those of the namespaces that have their own: shared by the orchestrator,
  # the workers and the submits that use it.
  # @api private
  class Connection
    attr_reader :database, :client

    # @param database [Native::Database]
    def initialize(database)
      @database = database
      @client = Native::Client.new(database)
      @registered = {}
      @current = {}
      @mutex = Mutex.new
      Logging::Forwarder.ensure_running
    end

    # @return [String] URL with its credentials
    def url
      @database.url
    end

    # Registers what has been defined since the last time, on the databases that these namespaces live on.
    # @param definitions [Hash{Array<String> => Native::Workflow}] of the registry, another object when it has changed
    # @param namespaces [Array<String>, nil] nil means all
    # @raise [ValidationError] when a version is registered with other content
    def register(definitions, namespaces: nil)
      places = (namespaces || definitions.keys.map(&:first)).map { |namespace| @database.place(namespace) }.uniq
      return if places.all? { |place| @current[place].equal?(definitions) }

      @mutex.synchronize do
        register_missing(definitions, places)
        @current = @current.merge(places.to_h { |place| [place, definitions] })
      end
    end

    # @param requests [Array<Hash>]
    # @return [Array<Task>]
    # @raise [Error] with what was submitted all the same, where something was
    def submit_all(requests)
      submit_inputs(RequestInput.list(requests))
    end

    # @param request [Hash]
    # @return [Task]
    def submit(request)
      submit_inputs([RequestInput.from(request, "the request")]).first
    end

    private

    def register_missing(definitions, places)
      missing = definitions.select do |key, _|
        !@registered.key?(key) && places.include?(@database.place(key.first))
      end
      return if missing.empty?

      @client.register(missing.values)
      missing.each_key { |key| @registered[key] = true }
    end

    def submit_inputs(inputs)
      register(Stepwell.registry.definitions, namespaces: inputs.map { |input| input[:workflow][%r{\A[^/]*}] }.uniq)
      in_current_trace(inputs)
      ids, (failure, message) = @client.submit(JsonValue.write(inputs))
      tasks = ids.map { |id| id && Task.new(self, id) }
      return tasks unless failure

      error = Stepwell.const_get(failure).new(message)
      error.submitted = tasks
      raise error
    rescue JSON::GeneratorError, EncodingError => e
      raise ValidationError, "the request is not JSON: #{Failure.text(e.message)}"
    end

    # Requests that name no trace are in that of the current span, where there is one.
    def in_current_trace(inputs)
      trace = Tracing.current
      inputs.each { |input| input[:trace_context] ||= trace } if trace
    end
  end
end
