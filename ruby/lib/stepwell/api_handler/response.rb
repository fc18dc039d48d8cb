# frozen_string_literal: true

module Stepwell
  class ApiHandler < StepHandler
    # Header names in upper or lower case mean the same.
    class Headers
      include Enumerable

      # @param source [#each] names with values; a value can be an Array
      # @api private
      def initialize(source)
        @values = {}
        (source || {}).each do |name, value|
          key = name.to_s.downcase
          @values[key] = [*@values[key], *value].join(", ")
        end
        @values.freeze
      end

      # @param name [String] such as "Retry-After"
      # @return [String, nil] several of this name are joined by ", "
      def [](name)
        @values[name.to_s.downcase]
      end

      # @yieldparam name [String] written like "Retry-After"
      # @yieldparam value [String]
      # @return [Headers, Enumerator] self
      def each
        return to_enum(:each) unless block_given?

        @values.each { |name, value| yield canonical(name), value }
        self
      end

      # @return [String] their names: values may be secrets
      def inspect
        "#<#{self.class} #{map { |name, _| name }.join(", ")}>"
      end

      private

      def canonical(name)
        name.split("-").map(&:capitalize).join("-").sub("Ratelimit", "RateLimit")
      end
    end

    # What an API answered.
    class Response
      # The longest delay that is taken for one, in seconds: a year.
      # @api private
      LONGEST_DELAY = 31_536_000
      # Names of statuses; some versions of Net::HTTP miss one.
      # @api private
      REASONS = { 425 => "Too Early" }.merge(Net::HTTP::STATUS_CODES).freeze

      # @return [Integer] such as 200
      attr_reader :status
      # @return [Headers]
      attr_reader :headers
      # @return [String] empty when there is none; UTF-8 where its bytes are, else as it came
      attr_reader :body
      # @return [Request] what was asked
      attr_reader :request

      # @param answer [#status, #headers, #body] of a client
      # @param request [Request]
      # @return [Response]
      # @raise [PermanentError] when the client's answer is no such thing
      # @api private
      def self.from(answer, request)
        # HTTPX returns its errors.
        if !answer.respond_to?(:status) && answer.respond_to?(:error) && answer.error.is_a?(Exception)
          raise answer.error
        end

        status = Integer(answer.status, exception: false) if answer.respond_to?(:status)
        raise unusable(request, "a #{answer.class}, which has no Integer as status") unless status

        body = answer.body
        raise unusable(request, "a body that it has parsed: a #{body.class}") if body.is_a?(Hash) || body.is_a?(Array)

        new(status, Headers.new(answer.headers), body.to_s, request)
      end

      def self.unusable(request, what)
        PermanentError.new("#{request}: the handler's client returned #{what}", code: "INVALID_RESPONSE")
      end
      private_class_method :unusable

      # @api private
      def initialize(status, headers, body, request)
        @status = status
        @headers = headers
        @body = utf8(body)
        @request = request
      end

      # @return [Boolean] whether the status is 2xx
      def success?
        status.between?(200, 299)
      end

      # @return [Object, nil] what the body says as JSON; nil when it is empty, as after a 204. Keys are Strings,
      #   integers exact. A byte order mark and the charset of Content-Type are heeded
      # @raise [PermanentError] code "HTTP_NOT_JSON" when the body of a 2xx is not JSON: the API has done what was
      #   asked, and must not be asked again. Where something in front of it answers in its place at times, let the step
      #   try again with `retryable_errors: "HTTP_NOT_JSON"`
      # @raise [RetryableError] the same code, after another status
      def json
        @parsed ||= [parse]
        @parsed.first
      end

      # @return [Integer, Float, nil] seconds for which the server asks to wait; nil when it does not, or names a date:
      #   the orchestrator compares that with the database's clock, not with this machine's
      def retry_after
        text = headers["Retry-After"].to_s.strip
        return unless text.match?(/\A\d{1,20}(?:\.\d{1,20})?\z/)

        [text.include?(".") ? text.to_f : text.to_i, LONGEST_DELAY].min
      end

      # @return [String] such as "429 Too Many Requests"
      def status_line
        [status, REASONS[status]].compact.join(" ")
      end

      # @return [String] such as "POST https://api.example.com/charges answered 429 Too Many Requests"
      def to_s
        "#{request} answered #{status_line}"
      end

      # @return [String] without headers and body
      def inspect
        "#<#{self.class} #{self}>"
      end

      private

      def utf8(body)
        return body unless body.encoding == Encoding::BINARY

        text = body.dup.force_encoding(Encoding::UTF_8)
        text.valid_encoding? ? text : body
      end

      def parse
        JsonBody.parse(body, headers["Content-Type"])
      rescue JSON::ParserError
        raise (success? ? PermanentError : RetryableError).new(not_json, code: "HTTP_NOT_JSON",
                                                                         context: { "body" => Text.clip(body, 1_000) })
      end

      def not_json
        beginning = Native.mask_text(Text.clip(body, 1_000))
        beginning = "#{beginning[0, 100]}…" if beginning.size > 100
        type = Text.clip(headers["Content-Type"] || "none", 100)
        "#{self}, but the body is not JSON (Content-Type: #{type}): #{beginning.inspect}"
      end
    end
  end
end
