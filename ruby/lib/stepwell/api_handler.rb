# frozen_string_literal: true

require "net/http"
require "net/http/status"
require "openssl"
require "uri"

require_relative "api_handler/settings"
require_relative "api_handler/text"
require_relative "api_handler/url"
require_relative "api_handler/request"
require_relative "api_handler/json_body"
require_relative "api_handler/response"
require_relative "api_handler/net_http"
require_relative "api_handler/outcome"

module Stepwell
  # Base of handlers that call an HTTP API. It turns what came back into what Stepwell does next:
  #
  # | came back | becomes |
  # |---|---|
  # | 2xx | the {Response} |
  # | 408, 425, 429, 5xx | {RetryableError}, code "HTTP_429"; waits as Retry-After says, at most the step's cap |
  # | any other status, also redirects: they are not followed | {PermanentError}, code "HTTP_404" |
  # | no connection, or it broke (refused, reset, DNS, TLS) | {RetryableError}, code "HTTP_CONNECTION" |
  # | no answer in time | {RetryableError}, code "HTTP_TIMEOUT" |
  # | more than max_response_size bytes | {PermanentError}, code "HTTP_TOO_LARGE" |
  # | 2xx whose body is asked for as JSON and is none | {PermanentError}, code "HTTP_NOT_JSON"; of an empty one nil |
  #
  # A request that cannot be made (its URL is no http(s) URL, say) is a {PermanentError} with code "INVALID_REQUEST".
  # Override {#retryable?} and {#acceptable?} for an API with other habits, {#headers} for what every request carries;
  # see {Settings} for the rest.
  #
  # The errors of a status carry the first 1,000 characters of the body as context `{"body" => …}`. The metadata of the
  # step tells of the last request: "request" ("POST https://host/path"), "status", "headers" (Retry-After, rate limits,
  # request ids, Date) and, when another attempt follows, "backoff_hint". No credentials and no query string get into
  # messages and metadata.
  #
  # POST, PUT, PATCH and DELETE send the step's idempotency key, the same in all attempts, as Idempotency-Key. A handler
  # that sends several of them to one API gives each its own, see {#request}.
  #
  # @example
  #   class ChargeCard < Stepwell::ApiHandler
  #     base_url "https://api.example.com/v1"
  #
  #     def headers(_step)
  #       { "Authorization" => "Bearer #{ENV.fetch("PAYMENTS_TOKEN")}" }
  #     end
  #
  #     def call(step)
  #       response = post(step, "/charges", json: { amount: step.context["amount"] })
  #       { "charge" => response.json["id"] }
  #     end
  #   end
  class ApiHandler < StepHandler
    extend Settings

    # Sends a GET request.
    # @param step [StepExecution]
    # @param url [String] as {#request} takes it
    # @param options [Hash] the keywords of {#request}
    # @return [Response]
    # @raise (see #request)
    def get(step, url, **options)
      request(step, :get, url, **options)
    end

    # Sends a POST request.
    # @param (see #get)
    # @return [Response]
    # @raise (see #request)
    def post(step, url, **options)
      request(step, :post, url, **options)
    end

    # Sends a PUT request.
    # @param (see #get)
    # @return [Response]
    # @raise (see #request)
    def put(step, url, **options)
      request(step, :put, url, **options)
    end

    # Sends a PATCH request.
    # @param (see #get)
    # @return [Response]
    # @raise (see #request)
    def patch(step, url, **options)
      request(step, :patch, url, **options)
    end

    # Sends a DELETE request.
    # @param (see #get)
    # @return [Response]
    # @raise (see #request)
    def delete(step, url, **options)
      request(step, :delete, url, **options)
    end

    # Sends a request, notes in the step's metadata what came back, and returns it when it is a success.
    # @param step [StepExecution]
    # @param method [Symbol, String] such as :get
    # @param url [String] a path is appended to base_url; an http(s) URL stands alone. Its credentials become an
    #   Authorization header
    # @param headers [Hash{String => String, nil}] win over those of {#headers} and the defaults; nil leaves one out
    # @param body [String, nil] sent as application/octet-stream, unless headers say otherwise
    # @param json [Object, nil] any JSON, sent as application/json; not together with body
    # @param query [Hash, nil] appended to the URL, encoded; an Array repeats its key, nil leaves it out
    # @param idempotency_key [String, nil] what POST, PUT, PATCH and DELETE send as Idempotency-Key, unless headers have
    #   one; nil sends none. The default is the step's, and can stand for one request only: a second one to the same
    #   server needs its own, such as `"#{step.idempotency_key}:refund"`. With the same key the API would take it for a
    #   repetition of the first, so it is refused
    # @return [Response] a success, or what {#acceptable?} accepts
    # @raise [RetryableError] when another attempt may succeed: the status says so, or the network failed
    # @raise [PermanentError] when no attempt can succeed: another status, a request that cannot be made, a body that is
    #   too large
    def request(step, method, url, headers: {}, body: nil, json: nil, query: {},
                idempotency_key: step.idempotency_key)
      name = self.class.idempotency_header
      asked = Request.build(method, url, body: body, json: json, query: query, base_url: self.class.base_url,
                                         idempotency: name && { name => idempotency_key },
                                         headers: [self.headers(step), headers])
      expect_new_key(asked)
      Outcome.start(step.metadata, asked)
      response = exchange(asked)
      Outcome.note(step.metadata, response)
      judge(step, response)
    end

    # What every request carries; override it, here tokens have their place. They go with each request, whatever its
    # server: a handler that calls others too leaves them out there (`headers: { "Authorization" => nil }`).
    # @param _step [StepExecution]
    # @return [Hash{String => String, nil}]
    def headers(_step)
      {}
    end

    # Whether the handler can go on with this response; override it to take a 404 for an answer, or not to take a 200.
    # @param response [Response]
    # @return [Boolean] true for every 2xx
    def acceptable?(response)
      response.success?
    end

    # Whether another attempt may succeed where this one got a response that is not acceptable; override it.
    # @param response [Response]
    # @return [Boolean] true for 408, 425, 429 and every 5xx
    def retryable?(response)
      [408, 425, 429].include?(response.status) || response.status.between?(500, 599)
    end

    private

    # Two different requests with one key: the API would answer the second with its answer to the first.
    def expect_new_key(asked)
      key = asked.header(self.class.idempotency_header.to_s)
      return unless key && Request::WRITES.include?(asked.method)

      content = [asked.method, asked.url, asked.body].hash
      return if (@keys_sent ||= {}).fetch([asked.origin, key]) { |it| @keys_sent[it] = content } == content

      raise Request.invalid("#{asked}: the step sent another request with the same #{self.class.idempotency_header}; " \
                            "give each its own idempotency_key:, or nil to send none")
    end

    def exchange(asked)
      client = self.class.client || NetHttp.new(self.class.open_timeout, self.class.read_timeout,
                                                self.class.max_response_size)
      Response.from(client.call(asked), asked)
    rescue Error # a client may know better
      raise
    rescue StandardError => e
      raise Outcome.network_error(asked, e) || e
    end

    # What is too large is not looked at further; of a failure the first part is enough.
    def judge(step, response)
      too_large = response.body.bytesize > self.class.max_response_size
      if (too_large && response.success?) || acceptable?(response)
        return response unless too_large

        raise Outcome.too_large(response, self.class.max_response_size)
      end
      raise Outcome.permanent_error(response) unless retryable?(response)

      Outcome.hint(step.metadata, response)
      raise Outcome.retryable_error(response)
    end
  end
end
