# frozen_string_literal: true

module Stepwell
  # A request of {Stepwell.submit_all} as the core takes it.
  # @api private
  module RequestInput
    KEYS = %i[workflow version context priority idempotency_key correlation_id tags trace_context].freeze
    TEXTS = %i[version priority idempotency_key correlation_id].freeze
    TRACE_KEYS = %w[traceparent tracestate].freeze

    module_function

    # @param requests [Array<Hash>]
    # @return [Array<Hash>]
    # @raise [ValidationError] naming the request and the key
    def list(requests)
      unless requests.is_a?(Array)
        raise ValidationError, "the requests must be an Array of Hashes, not #{Argument.a(requests)}"
      end

      requests.each_with_index.map { |request, index| from(request, "request #{index}") }
    end

    # @param request [Hash] String and Symbol keys are the same
    # @param where [String] for messages
    # @return [Hash]
    # @raise [ValidationError]
    def from(request, where)
      request = keyed(request, where)
      { workflow: Argument.text("#{where}: workflow", request[:workflow]), **texts(request, where),
        context: context(request.fetch(:context, {}), where), tags: tags(request[:tags], "#{where}: tags"),
        trace_context: trace_context(request[:trace_context], "#{where}: trace_context") }
    end

    def keyed(request, where)
      unless request.is_a?(Hash)
        raise ValidationError, "#{where}: must be a Hash with workflow: and context:, not #{Argument.a(request)}"
      end

      known = request.to_h.transform_keys { |key| key.is_a?(String) ? key.to_sym : key }
      unknown = known.keys - KEYS
      unless unknown.empty?
        unknown = unknown.map { |key| key.is_a?(Symbol) ? key : Argument.shown(key) }
        raise ValidationError, "#{where}: unknown #{unknown.join(", ")}; allowed are #{KEYS.join(", ")}"
      end
      return known if known.size == request.size

      twice = known.keys.select { |key| request.key?(key) && request.key?(key.to_s) }
      raise ValidationError, "#{where}: #{twice.join(", ")} is there as a String and as a Symbol: give it once"
    end

    def texts(request, where)
      TEXTS.to_h { |key| [key, request[key].nil? ? nil : text(request[key], "#{where}: #{key}")] }
    end

    # Numbers and what else has a text are taken by it.
    def text(value, where)
      if value.nil? || value.is_a?(Enumerable)
        raise ValidationError, "#{where}: must be a String, not #{Argument.a(value)}"
      end

      Argument.utf8(where, value.to_s)
    end

    def tags(tags, where)
      raise ValidationError, "#{where}: must be an Array of Strings, not #{Argument.a(tags)}" if tags.is_a?(Hash)

      Array(tags).map { |tag| text(tag, where) }
    end

    def trace_context(trace, where)
      return unless trace
      raise ValidationError, "#{where} must be a Hash, not #{Argument.a(trace)}" unless trace.is_a?(Hash)

      trace = trace.transform_keys(&:to_s).compact
      unknown = trace.keys - TRACE_KEYS
      unless unknown.empty? && trace.key?("traceparent")
        wrong = unknown.empty? ? "no traceparent" : "unknown #{unknown.join(", ")}"
        raise ValidationError, "#{where}: #{wrong}; allowed are #{TRACE_KEYS.join(", ")}"
      end
      trace.to_h { |key, value| [key, text(value, "#{where}: #{key}")] }
    end

    def context(context, where)
      raise ValidationError, "#{where}: context must be a Hash, not #{Argument.a(context)}" unless context.is_a?(Hash)

      JsonValue.check(context, "context")
      context
    rescue JsonValue::Refused => e
      raise ValidationError, "#{where}: context #{e.message}"
    end
  end
end
