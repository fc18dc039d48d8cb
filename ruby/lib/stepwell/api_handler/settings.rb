# frozen_string_literal: true

module Stepwell
  class ApiHandler < StepHandler
    # What a class of handlers sets in its body: `base_url "https://api.example.com"`. Subclasses inherit it; without an
    # argument each returns what holds.
    module Settings
      UNSET = Object.new.freeze
      private_constant :UNSET

      # What holds where nothing was set.
      # @api private
      DEFAULTS = { base_url: nil, open_timeout: 5, read_timeout: 30, max_response_size: 10 * 1024 * 1024, client: nil,
                   idempotency_header: "Idempotency-Key" }.freeze

      # Where paths are appended; it may have a path of its own.
      # @overload base_url
      #   @return [String, nil]
      # @overload base_url(url)
      #   @param url [String, nil] http(s), without query and fragment
      #   @raise [ValidationError] when it is something else
      def base_url(url = UNSET)
        setting(:base_url, url, "an http(s) URL without query and fragment") do
          uri = url.is_a?(String) ? Url.parse(url) : nil
          url.nil? || (uri && uri.query.nil? && uri.fragment.nil?)
        end
      end

      # How long making a connection may take.
      # @overload open_timeout
      #   @return [Numeric] seconds, 5 by default
      # @overload open_timeout(seconds)
      #   @param seconds [Numeric] more than 0
      #   @raise [ValidationError] when it is something else
      def open_timeout(seconds = UNSET)
        setting(:open_timeout, plain(seconds), "seconds, more than 0") { seconds?(seconds) }
      end

      # How long the server may be silent. A server that sends a little now and then is bounded by the step's timeout.
      # @overload read_timeout
      #   @return [Numeric] seconds, 30 by default
      # @overload read_timeout(seconds)
      #   @param seconds [Numeric] more than 0
      #   @raise [ValidationError] when it is something else
      def read_timeout(seconds = UNSET)
        setting(:read_timeout, plain(seconds), "seconds, more than 0") { seconds?(seconds) }
      end

      # How large the body of a response may be.
      # @overload max_response_size
      #   @return [Integer] bytes, 10 MiB by default
      # @overload max_response_size(bytes)
      #   @param bytes [Integer] more than 0
      #   @raise [ValidationError] when it is something else
      def max_response_size(bytes = UNSET)
        setting(:max_response_size, bytes, "an Integer, more than 0") { bytes.is_a?(Integer) && bytes.positive? }
      end

      # The header in which POST, PUT, PATCH and DELETE carry the idempotency key.
      # @overload idempotency_header
      #   @return [String, nil] "Idempotency-Key" by default
      # @overload idempotency_header(name)
      #   @param name [String, nil] nil sends none
      #   @raise [ValidationError] when it is no name of a header
      def idempotency_header(name = UNSET)
        setting(:idempotency_header, name, "a header's name or nil") do
          name.nil? || (name.is_a?(String) && name.match?(Request::TOKEN))
        end
      end

      # What sends the requests: any object with `call(request)`. It gets a {Request} and returns something with status,
      # headers and body, whatever the status is; a body that is text, not yet parsed. Its timeouts, its connections and
      # following redirects are its own affair, and it must not retry: Stepwell does.
      #
      # Without one, each request has a connection of its own, by Net::HTTP, with TLS certificates verified; proxies are
      # those of http_proxy and its kin.
      #
      # @example Faraday
      #   CONNECTION = Faraday.new(request: { open_timeout: 5, timeout: 30 })
      #   client ->(it) { CONNECTION.run_request(it.method.downcase.to_sym, it.url, it.body, it.headers) }
      # @example HTTPX
      #   client ->(it) { HTTPX.request(it.method, it.url, headers: it.headers, body: it.body) }
      # @overload client
      #   @return [#call, nil]
      # @overload client(callable)
      #   @param callable [#call, nil] used by all threads; nil means Net::HTTP
      #   @raise [ValidationError] when it cannot be called
      def client(callable = UNSET)
        setting(:client, callable, "an object that responds to call(request)") do
          callable.nil? || callable.respond_to?(:call)
        end
      end

      private

      # The block says whether what is given is allowed.
      def setting(name, given, allowed)
        if UNSET.equal?(given)
          return (@settings || {}).fetch(name) do
            superclass <= ApiHandler ? superclass.public_send(name) : DEFAULTS.fetch(name)
          end
        end
        unless yield
          given = Url.redact(given.to_s) if name == :base_url
          raise ValidationError, "#{name}: #{given.inspect} must be #{allowed}"
        end

        (@settings ||= {})[name] = given
      end

      # A duration of ActiveSupport says that it is a number; Net::HTTP wants one.
      def plain(value)
        value.is_a?(Numeric) && !(Numeric === value) ? value.to_f : value # rubocop:disable Style/CaseEquality
      end

      def seconds?(value)
        value.is_a?(Numeric) && value.real? && value.finite? && value.positive?
      end
    end
  end
end
