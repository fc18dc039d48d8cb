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
      @mutex = Mutex.new
      Logging::Forwarder.ensure_running
    end

    # @return [String] URL with its credentials
    def url
      @database.url
    end

    # Registers what has been defined since the last time, on the databases that these namespaces live on.
    # @param namespaces [Array<String>, nil] nil means all
    # @raise [ValidationError] when a version is registered with other content
    def register(definitions, namespaces: nil)
      return if definitions.size == @registered.size # definitions are only added

      @mutex.synchronize do
        places = namespaces&.map { |namespace| @database.place(namespace) }
        missing = definitions.reject do |key, _|
          @registered.key?(key) || (places && !places.include?(@database.place(key.first)))
        end
        @client.register(missing.values)
        @registered = @registered.merge(missing.transform_values { true })
      end
    end

    # @param requests [Array<Hash>]
    # @return [Array<Task>]
    def submit_all(requests)
      inputs = requests.each_with_index.map do |request, index|
        RequestInput.from(request, requests.size == 1 ? "the request" : "request #{index}")
      end
      register_for(inputs)
      in_current_trace(inputs)
      @client.submit(JsonValue.write(inputs)).map { |id| Task.new(self, id) }
    rescue JSON::GeneratorError, EncodingError => e
      raise ValidationError, "the request is not JSON: #{Failure.text(e.message)}"
    end

    private

    # Requests that name no trace are in that of the current span, where there is one.
    def in_current_trace(inputs)
      trace = Tracing.current
      inputs.each { |input| input[:trace_context] ||= trace } if trace
    end

    def register_for(inputs)
      definitions = Stepwell.registry.definitions
      return if definitions.size == @registered.size

      register(definitions, namespaces: inputs.map { |input| input[:workflow][%r{\A[^/]*}] }.uniq)
    end
  end

  # A request of {Stepwell.submit_all} as the core takes it.
  # @api private
  module RequestInput
    KEYS = %i[workflow version context priority idempotency_key correlation_id tags trace_context].freeze
    TRACE_KEYS = %w[traceparent tracestate].freeze

    module_function

    # @param request [Hash]
    # @param where [String] for messages
    # @return [Hash]
    # @raise [ValidationError]
    def from(request, where)
      request = request.transform_keys(&:to_sym)
      unknown = request.keys - KEYS
      unless unknown.empty?
        raise ValidationError, "#{where}: unknown #{unknown.join(", ")}; allowed are #{KEYS.join(", ")}"
      end

      text = %i[version priority idempotency_key correlation_id].to_h { |key| [key, request[key]&.to_s] }
      { workflow: request[:workflow].to_s, context: context(request.fetch(:context, {}), where),
        tags: Array(request[:tags]).map(&:to_s), trace_context: trace_context(request[:trace_context], where), **text }
    end

    def trace_context(trace, where)
      return unless trace
      raise ValidationError, "#{where}: trace_context must be a Hash, not a #{trace.class}" unless trace.is_a?(Hash)

      trace = trace.to_h { |key, value| [key.to_s, value&.to_s] }.compact
      unknown = trace.keys - TRACE_KEYS
      return trace if unknown.empty? && trace.key?("traceparent")

      wrong = unknown.empty? ? "no traceparent" : "unknown #{unknown.join(", ")}"
      raise ValidationError, "#{where}: trace_context: #{wrong}; allowed are #{TRACE_KEYS.join(", ")}"
    end

    def context(context, where)
      raise ValidationError, "#{where}: context must be a Hash, not a #{context.class}" unless context.is_a?(Hash)

      JsonValue.check(context)
      context
    rescue JsonValue::Refused => e
      raise ValidationError, "#{where}: context #{e.message}"
    end
  end
end
