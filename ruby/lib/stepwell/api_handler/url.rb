# frozen_string_literal: true

module Stepwell
  class ApiHandler < StepHandler
    # URLs, and what of them may be shown: neither credentials nor the query.
    # @api private
    module Url
      ABSOLUTE = %r{\A[a-z][a-z0-9+.-]*://}i

      module_function

      # @return [URI::HTTP, nil] nil when it is no http(s) URL with a host
      def parse(text)
        uri = URI.parse(text)
        uri if uri.is_a?(URI::HTTP) && !uri.host.to_s.empty?
      rescue URI::Error
        nil
      end

      # @return [String] a path is appended to the base as text: `/v1` of the base stays
      # @raise [PermanentError] when there is no base
      def join(base, url)
        return url if url.match?(ABSOLUTE)
        raise Request.invalid("the URL #{redact(url).inspect} is relative, and the handler has no base_url") unless base

        separator = url.empty? || url.start_with?("?") ? "" : "/"
        "#{base.chomp("/")}#{separator}#{url.delete_prefix("/")}"
      end

      # @return [String] scheme, host and port
      def origin(uri)
        port = ":#{uri.port}" if uri.port && uri.port != uri.default_port
        "#{uri.scheme}://#{uri.host}#{port}"
      end

      # @return [String] what is left of any text that may be a URL: no credentials, query, fragment
      def redact(text)
        uri = parse(text)
        shown = uri ? "#{origin(uri)}#{uri.path}" : text.sub(%r{(?<=//).*@}m, "")[/\A[^?#]*/]
        Text.clip(shown, 200)
      rescue ArgumentError # text that is not valid in its encoding
        ""
      end
    end
  end
end
