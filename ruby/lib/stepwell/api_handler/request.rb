# frozen_string_literal: true

module Stepwell
  class ApiHandler < StepHandler
    # What a client is asked to send. It is frozen; the body and header values are text.
    class Request
      # A header's name, as RFC 9110 defines tokens.
      # @api private
      TOKEN = /\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\z/
      # Methods that carry an idempotency key.
      # @api private
      WRITES = %w[POST PUT PATCH DELETE].freeze
      # What requests carry unless headers say otherwise.
      # @api private
      DEFAULTS = { "Accept" => "application/json, */*;q=0.5", "User-Agent" => "Stepwell/#{VERSION}" }.freeze

      # @return [String] upper case, such as "POST"
      attr_reader :method
      # @return [String] with its query, without credentials
      attr_reader :url
      # @return [Hash{String => String}] each name once
      attr_reader :headers
      # @return [String, nil]
      attr_reader :body
      # @api private
      attr_reader :origin

      class << self
        # Puts a request together out of what the handler gave.
        # @param headers [Array<Hash, nil>] the last one wins
        # @param idempotency [Hash{String => String, nil}, nil] the header and its key
        # @raise [PermanentError] when it cannot be sent
        # @api private
        def build(method, url, body:, json:, query:, base_url:, idempotency:, headers:)
          verb = method.to_s.upcase
          raise invalid("#{method.inspect} is no HTTP method") unless verb.match?(/\A[A-Z]+\z/)

          uri = locate(base_url, url, query)
          content, type = encode(body, json)
          headers = merge([DEFAULTS, type, authorization(uri), (idempotency if WRITES.include?(verb)), *headers])
          new(verb, uri, headers, content)
        end

        # @return [PermanentError]
        # @api private
        def invalid(message)
          PermanentError.new(message, code: "INVALID_REQUEST")
        end

        private

        def locate(base_url, url, query)
          url = url.to_s
          uri = Url.parse(Url.join(base_url, url)) if url.valid_encoding?
          raise invalid("#{Url.redact(url).inspect} is no http(s) URL, or not percent-encoded") unless uri

          added = URI.encode_www_form(query.compact) if query
          uri.query = [uri.query, added].compact.reject(&:empty?).join("&") if added && !added.empty?
          uri
        end

        # @return [Array] the body and the header that tells its type
        def encode(body, json)
          raise invalid("give body: or json:, not both") unless body.nil? || json.nil?
          return [JsonValue.generate(json), { "Content-Type" => "application/json" }] unless json.nil?
          return [nil, {}] if body.nil?
          raise invalid("body: is a #{body.class}, not a String; json: takes other values") unless body.is_a?(String)

          [body, { "Content-Type" => "application/octet-stream" }]
        rescue JsonValue::Refused => e
          raise invalid("what json: is given #{e.message}")
        end

        def authorization(uri)
          return {} unless uri.userinfo

          credentials = uri.userinfo.b.gsub(/%(\h\h)/) { Regexp.last_match(1).hex.chr }
          { "Authorization" => "Basic #{[credentials].pack("m0")}" }
        end

        # One of each name, however it is written.
        def merge(sources)
          merged = {}
          sources.compact.each do |source|
            source.each do |name, value|
              key = name.to_s.downcase
              value.nil? ? merged.delete(key) : merged[key] = checked(name.to_s, value.to_s)
            end
          end
          merged.values.to_h
        end

        # A line break in a value would be a header of its own. The value itself may be a secret.
        def checked(name, value)
          raise invalid("#{name.inspect} is no name of a header") unless name.match?(TOKEN)
          raise invalid("the header #{name} holds a line break or NUL") if value.b.match?(/[\r\n\0]/n)

          [name, value]
        end
      end

      # @api private
      def initialize(method, uri, headers, body)
        @method = method
        @origin = Url.origin(uri)
        @url = "#{@origin}#{uri.request_uri}"
        @label = "#{method} #{Text.clip("#{@origin}#{uri.path}", 500)}"
        @headers = headers.freeze
        @body = body
        freeze
      end

      # @param name [String] in upper or lower case
      # @return [String, nil] the header's value
      def header(name)
        @headers.find { |it, _| it.casecmp?(name) }&.last
      end

      # @return [String] such as "POST https://api.example.com/charges": without the query
      def to_s
        @label
      end

      # @return [String] without headers and body: they may hold secrets
      def inspect
        "#<#{self.class} #{@label}>"
      end
    end
  end
end
