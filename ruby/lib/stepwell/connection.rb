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
      @registrations = Registrations.new(@client, database)
      Logging::Forwarder.ensure_running
    end

    # @return [String] URL with its credentials
    def url
      @database.url
    end

    # As {Registrations#register}.
    def register(definitions, namespaces: nil)
      @registrations.register(definitions, namespaces: namespaces)
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

    def submit_inputs(inputs)
      requests = inputs.map { |input| input.values_at(:workflow, :version) }.uniq
      @registrations.register_for(Stepwell.registry.definitions, requests)
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
