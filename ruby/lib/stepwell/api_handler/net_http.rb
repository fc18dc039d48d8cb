# frozen_string_literal: true

module Stepwell
  class ApiHandler < StepHandler
    # The client that needs no gem: Net::HTTP, a connection a request, certificates verified; it neither retries nor
    # follows redirects.
    # @api private
    class NetHttp
      Answer = Struct.new(:status, :headers, :body)

      # @param limit [Integer] bytes of a body after which reading on would be in vain
      def initialize(open_timeout, read_timeout, limit)
        @open_timeout = open_timeout
        @read_timeout = read_timeout
        @limit = limit
      end

      def call(request)
        uri = URI.parse(request.url)
        connection(uri).start do |http|
          answer, body = exchange(http, message(request, uri))
          Answer.new(answer.code.to_i, answer.to_hash, body)
        end
      end

      private

      def connection(uri)
        http = Net::HTTP.new(uri.hostname, uri.port)
        http.use_ssl = uri.is_a?(URI::HTTPS)
        http.open_timeout = @open_timeout
        http.read_timeout = http.write_timeout = @read_timeout
        http.max_retries = 0 # an attempt is one request
        http
      end

      # Without compression, so that a body's size is known, and that it came whole.
      def message(request, uri)
        headers = { "Accept-Encoding" => "identity", "Connection" => "close" }.reject { |name, _| request.header(name) }
        headers["Content-Length"] = "0" if request.body.nil? && %w[POST PUT PATCH].include?(request.method)
        message = Net::HTTPGenericRequest.new(request.method, !request.body.nil?, request.method != "HEAD",
                                              uri.request_uri, headers.merge(request.headers))
        message.body = request.body
        message
      end

      def exchange(http, message)
        answer = nil
        body = String.new
        catch do |enough|
          http.request(message) do |it|
            answer = it
            it.read_body do |part|
              body << part
              throw enough if body.bytesize > @limit
            end
          end
          expect_whole(answer, body) if message.response_body_permitted?
        end
        [answer, body]
      end

      # Net::HTTP takes a body for whole whose connection was closed before its end.
      def expect_whole(answer, body)
        length = answer.content_length if answer.class.body_permitted? && !answer.chunked?
        return if length.nil? || body.bytesize >= length

        raise EOFError, "the connection was closed after #{body.bytesize} of #{length} bytes of the body"
      end
    end
  end
end
