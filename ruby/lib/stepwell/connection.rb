# frozen_string_literal: true

module Stepwell
  # This process's link to one database: shared by the orchestrator, the workers and the submits that use it.
  # @api private
  class Connection
    attr_reader :database, :client

    # @param database [Native::Database]
    def initialize(database)
      @database = database
      @client = Native::Client.new(database)
      @registered = {}
      @mutex = Mutex.new
    end

    # @return [String] URL with its credentials
    def url
      @database.url
    end

    # Registers what has been defined since the last time.
    # @raise [ValidationError] when a version is registered with other content
    def register(definitions)
      return if definitions.size == @registered.size # definitions are only added

      @mutex.synchronize do
        missing = definitions.reject { |key, _| @registered.key?(key) }
        @client.register(missing.values)
        @registered = @registered.merge(missing.transform_values { true })
      end
    end

    # @param requests [Array<Hash>]
    # @return [Array<Task>]
    def submit_all(requests)
      register(Stepwell.registry.definitions)
      ids = @client.submit(JSON.generate(requests.each_with_index.map { |request, index| check(request, index, requests.size) }))
      ids.map { |id| Task.new(self, id) }
    rescue JSON::GeneratorError, EncodingError => e
      raise ValidationError, "the request is not JSON: #{Failure.text(e.message)}"
    end

    KEYS = %i[workflow version context priority idempotency_key correlation_id tags].freeze
    private_constant :KEYS

    private

    def check(request, index, size)
      request = request.transform_keys(&:to_sym)
      where = size == 1 ? "the request" : "request #{index}"
      unknown = request.keys - KEYS
      raise ValidationError, "#{where}: unknown #{unknown.join(", ")}; allowed are #{KEYS.join(", ")}" unless unknown.empty?

      context = request.fetch(:context, {})
      raise ValidationError, "#{where}: context must be a Hash, not a #{context.class}" unless context.is_a?(Hash)

      JsonValue.check(context, nil)
      { workflow: request[:workflow].to_s, version: request[:version]&.to_s, context: context,
        priority: request[:priority]&.to_s, idempotency_key: request[:idempotency_key]&.to_s,
        correlation_id: request[:correlation_id]&.to_s, tags: Array(request[:tags]).map(&:to_s) }
    rescue JsonValue::Refused => e
      raise ValidationError, "#{where}: context #{e.message}"
    end
  end
end
