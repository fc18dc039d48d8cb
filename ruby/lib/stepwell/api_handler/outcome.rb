# frozen_string_literal: true

module Stepwell
  class ApiHandler < StepHandler
    # What became of a request: the error that it ends in, and what the step's metadata says of it.
    # @api private
    module Outcome
      TIMEOUTS = [Timeout::Error, Errno::ETIMEDOUT].freeze
      # Clients of other gems wrap these: their causes are looked at too.
      NETWORK = [SystemCallError, SocketError, IOError, OpenSSL::SSL::SSLError, Net::ProtocolError,
                 Net::HTTPBadResponse, Net::HTTPHeaderSyntaxError].freeze
      # Of the headers these are of use to who retries, and to who asks the API's support.
      KEPT = /\A(?:Retry-After|(?:X-)?Rate-?Limit(?:-.+)?|(?:X-)?Request-Id|Date)\z/i
      LATER = { 429 => "rate_limit", 503 => "service_unavailable" }.freeze

      module_function

      # What an earlier request of the attempt left is not of this one.
      def start(metadata, request)
        %w[status headers backoff_hint].each { |key| metadata.delete(key) }
        metadata["request"] = request.to_s
      end

      def note(metadata, response)
        metadata["status"] = response.status
        headers = response.headers.select { |name, _| KEPT.match?(name) }
        headers = headers.sort_by.with_index { |(name, _), index| [name == "Retry-After" ? 0 : 1, index] }
        metadata["headers"] = headers.first(20).to_h { |name, value| [Text.clip(name, 200), Text.clip(value, 200)] }
      end

      # Why another attempt has to wait, for the orchestrator.
      def hint(metadata, response)
        delay = response.retry_after
        type = delay ? "server_requested" : LATER[response.status]
        metadata["backoff_hint"] = { "type" => type, "delay" => delay }.compact if type
      end

      def retryable_error(response)
        RetryableError.new(response.to_s, retry_after: response.retry_after, code: "HTTP_#{response.status}",
                                          context: context(response))
      end

      def permanent_error(response)
        message = response.to_s
        if response.status.between?(300, 399) && response.headers["Location"]
          message += ", which points to #{Url.redact(response.headers["Location"])}; redirects are not followed"
        end
        PermanentError.new(message, code: "HTTP_#{response.status}", context: context(response))
      end

      def too_large(response, limit)
        PermanentError.new("#{response} with a body of more than #{limit} bytes, the handler's max_response_size",
                           code: "HTTP_TOO_LARGE", context: context(response))
      end

      # @return [RetryableError, nil] nil when the error is not the network's
      def network_error(request, error)
        causes = [error]
        causes << causes.last.cause while causes.last.cause && causes.size < 10
        if matching?(causes, TIMEOUTS) || error.class.name.to_s.include?("Timeout")
          code = "HTTP_TIMEOUT"
        elsif matching?(causes, NETWORK)
          code = "HTTP_CONNECTION"
        else
          return
        end
        RetryableError.new("#{request} failed: #{explain(request, error)} (#{error.class})", code: code)
      end

      def matching?(errors, classes)
        errors.any? { |error| classes.any? { |it| error.is_a?(it) } }
      end

      def explain(request, error)
        case error
        when Net::OpenTimeout then "no connection in time"
        when Net::ReadTimeout then "no answer in time"
        else
          text = Text.clip(error.message, 100_000)
          query = request.url[/\?.+/] # clients like to show the URL
          text = text.gsub(query, "") if query
          text[0, 500]
        end
      end

      def context(response)
        { "body" => Text.clip(response.body, 1_000) }
      end
    end
  end
end
