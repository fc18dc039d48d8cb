# frozen_string_literal: true

require_relative "support"

RSpec.describe Stepwell::ApiHandler, "what came back" do
  url = "https://api.example.com/charges"

  { 200 => "OK", 201 => "Created", 204 => "No Content", 299 => nil }.each_key do |status|
    it "returns a #{status}" do
      response = answering(status, { "X-Kind" => "a" }, "body").get(step, "/charges")

      expect(response).to have_attributes(status: status, body: "body", success?: true)
      expect(response.headers["x-kind"]).to eq("a")
      expect(step.metadata).to eq("request" => "GET #{url}", "status" => status, "headers" => {})
    end
  end

  { 408 => "408 Request Timeout", 425 => "425 Too Early", 429 => "429 Too Many Requests",
    500 => "500 Internal Server Error", 501 => "501 Not Implemented", 502 => "502 Bad Gateway",
    503 => "503 Service Unavailable", 504 => "504 Gateway Timeout", 599 => "599" }.each do |status, line|
    it "asks for another attempt after #{line}" do
      error = failure { answering(status, {}, "why").post(step, "/charges") }

      expect(error).to be_an_instance_of(Stepwell::RetryableError)
        .and have_attributes(message: "POST #{url} answered #{line}", code: "HTTP_#{status}", retry_after: nil,
                             context: { "body" => "why" })
      expect(step.metadata).to include("request" => "POST #{url}", "status" => status)
    end
  end

  { 101 => "101 Switching Protocols", 304 => "304 Not Modified", 400 => "400 Bad Request", 401 => "401 Unauthorized",
    404 => "404 Not Found", 409 => "409 Conflict", 424 => "424 Failed Dependency", 426 => "426 Upgrade Required",
    430 => "430", 499 => "499", 600 => "600" }.each do |status, line|
    it "gives up after #{line}" do
      error = failure { answering(status, { "Retry-After" => "5" }, "why").put(step, "/charges") }

      expect(error).to be_an_instance_of(Stepwell::PermanentError)
        .and have_attributes(message: "PUT #{url} answered #{line}", code: "HTTP_#{status}",
                             context: { "body" => "why" })
      expect(step.metadata).to eq("request" => "PUT #{url}", "status" => status, "headers" => { "Retry-After" => "5" })
    end
  end

  { "https://me:pw@www.example.com:8443/new?token=secret#top" => "https://www.example.com:8443/new",
    "/login?back=%2Fcharges" => "/login", "http://me:p w@host/a b?c" => "http://host/a b",
    "//me:pw@host/x" => "//host/x", "\xFF?" => "\uFFFD" }.each do |location, shown|
    it "says where a redirect points, without its secrets: #{shown}" do
      error = failure { answering(302, { "location" => location.b }).get(step, "/charges") }

      expect(error).to be_a(Stepwell::PermanentError).and have_attributes(
        message: "GET #{url} answered 302 Found, which points to #{shown}; redirects are not followed", code: "HTTP_302"
      )
      expect(step.metadata.to_s).not_to match(/secret|pw|p w/)
    end
  end

  it "lets a subclass decide what another attempt may cure" do
    handler = answering(409, { "Retry-After" => "2" }) do
      def retryable?(response)
        response.status == 409 || super
      end
    end

    expect(failure { handler.get(step, "/charges") })
      .to be_a(Stepwell::RetryableError).and have_attributes(code: "HTTP_409", retry_after: 2)
    expect(step.metadata["backoff_hint"]).to eq("type" => "server_requested", "delay" => 2)
  end

  it "lets a subclass decide what it can go on with" do
    missing = answering(404) { define_method(:acceptable?) { |response| super(response) || response.status == 404 } }
    refused = answering(200, {}, '{"error":"busy"}') do
      define_method(:acceptable?) { |response| !response.json.key?("error") }
      define_method(:retryable?) { |response| response.json["error"] == "busy" }
    end

    expect(missing.get(step, "/charges").status).to eq(404)
    expect(failure { refused.get(step, "/charges") })
      .to be_a(Stepwell::RetryableError).and have_attributes(code: "HTTP_200", message: "GET #{url} answered 200 OK")
  end

  it "keeps the beginning of the body, as text that can be stored" do
    bodies = { "\u{1F600}" * 5_000 => "\u{1F600}" * 1_000, ("ä€" * 5_000).b => "ä€" * 500,
               "\xE4\0b".b => "\uFFFD\uFFFDb", "\xE4".dup.force_encoding("ISO-8859-1") => "ä",
               "\xFF" * 5_000 => "\uFFFD" * 1_000, "" => "", nil => "" }
    bodies.each do |body, kept|
      context = failure { answering(400, {}, body).get(step, "/charges") }.context
      expect(context).to eq("body" => kept)
    end
  end

  describe "the metadata" do
    it "keeps the headers that help, by their usual names, and no others" do
      helpful = { "retry-after" => "7", "x-ratelimit-remaining" => "0", "RATELIMIT-RESET" => "9", "ratelimit" => "r=1",
                  "X-Rate-Limit-Limit" => "5", "x-request-id" => %w[a b], "request-id" => "c", date: "today" }
      other = { "Set-Cookie" => "session=secret", "Authorization" => "secret", "Content-Type" => "text/plain",
                "X-Date" => "x", "X-Ratelimited" => "x", "ETag" => "x" }
      failure { answering(429, other.merge(helpful)).get(step, "/charges") }

      expect(step.metadata["headers"])
        .to eq("Retry-After" => "7", "X-RateLimit-Remaining" => "0", "RateLimit-Reset" => "9", "RateLimit" => "r=1",
               "X-Rate-Limit-Limit" => "5", "X-Request-Id" => "a, b", "Request-Id" => "c", "Date" => "today")
    end

    it "keeps at most 20 of them, Retry-After first, each cut to 200 characters" do
      many = (1..50).to_h { |n| ["X-RateLimit-#{n}", "\xE4#{"x" * 1_000}".b] }
      answering(200, many.merge("Retry-After" => "1")).get(step, "/charges")

      headers = step.metadata["headers"]
      expect(headers.keys).to eq(["Retry-After"] + (1..19).map { |n| "X-RateLimit-#{n}" })
      expect(headers["X-RateLimit-1"]).to eq("\uFFFD#{"x" * 199}")
    end

    [[429, "3", { "type" => "server_requested", "delay" => 3 }],
     [503, " 0 ", { "type" => "server_requested", "delay" => 0 }],
     [500, "1.5", { "type" => "server_requested", "delay" => 1.5 }],
     [503, "9" * 20, { "type" => "server_requested", "delay" => 31_536_000 }],
     [429, nil, { "type" => "rate_limit" }], [429, "-3", { "type" => "rate_limit" }],
     [429, "soon", { "type" => "rate_limit" }], [429, "1e9", { "type" => "rate_limit" }],
     [429, "Wed, 21 Oct 2015 07:28:00 GMT", { "type" => "rate_limit" }],
     [503, nil, { "type" => "service_unavailable" }], [503, "5, 6", { "type" => "service_unavailable" }],
     [503, "Wednesday, 21-Oct-15 07:28:00 GMT", { "type" => "service_unavailable" }],
     [500, nil, nil], [502, "Wed Oct 21 07:28:00 2015", nil], [404, "3", nil],
     [200, "3", nil]].each do |status, value, hint|
      it "hints at #{hint.inspect} after #{status} with Retry-After: #{value.inspect}" do
        error = begin
          answering(status, { "Retry-After" => value }.compact).get(step, "/charges")
        rescue Stepwell::Error => e
          e
        end

        expect(step.metadata["backoff_hint"]).to eq(hint)
        expect(error.retry_after).to eq(hint["delay"]) if hint
        expect(step.metadata["headers"]).to eq({ "Retry-After" => value }.compact)
      end
    end

    it "tells of the last request only" do
      step.metadata["mine"] = 1
      failure { answering(429, { "Retry-After" => "3" }).get(step, "/first") }
      lost = api(client: ->(_) { raise Errno::ECONNREFUSED })
      failure { lost.new.get(step, "http://localhost/second") }

      expect(step.metadata).to eq("mine" => 1, "request" => "GET http://localhost/second")
    end
  end

  describe "the body as JSON" do
    it "is read exactly" do
      response = answering(200, {}, '{"id":123456789012345678901234567890,"name":"ü"}'.b).get(step, "/charges")

      expect(response.json).to eq("id" => 123_456_789_012_345_678_901_234_567_890, "name" => "ü")
      expect(response.json).to equal(response.json)
      expect(response.body.encoding).to be(Encoding::UTF_8)
    end

    it "is nil where there is none: the API has done what was asked" do
      [[204, ""], [200, ""], [201, " \r\n"], [200, "\uFEFF"], [202, nil]].each do |status, body|
        response = answering(status, { "content-type" => "application/json" }, body).post(step, "/charges")
        expect(response).to have_attributes(status: status, json: nil)
      end
    end

    { '{"a":"ä"}' => nil, "\uFEFF{\"a\":\"ä\"}" => nil,
      "\uFEFF{\"a\":\"ä\"}".encode("UTF-16LE") => nil, "\uFEFF{\"a\":\"ä\"}".encode("UTF-16BE") => "utf-8",
      "\uFEFF{\"a\":\"ä\"}".encode("UTF-32LE") => "utf-16", "\uFEFF{\"a\":\"ä\"}".encode("UTF-32BE") => nil,
      "{\"a\":\"ä\"}".encode("UTF-16BE") => "utf-16", "{\"a\":\"ä\"}".encode("UTF-16LE") => "UTF-16LE",
      "{\"a\":\"ä\"}".encode("ISO-8859-1") => '"iso-8859-1"', "{\"a\": \"ä\"}" => "iso-8859-1",
      "{\"a\":  \"ä\"}" => "utf-16", "\n{\"a\":\"ä\"}" => "x-unknown" }.each do |body, charset|
      it "is read as #{body.b.inspect} with the charset #{charset.inspect}" do
        type = ["application/json", charset && "charset=#{charset}"].compact.join("; ")
        [body.b, body].each do |it|
          expect(answering(200, { "Content-Type" => type }, it).get(step, "/charges").json).to eq("a" => "ä")
        end
      end
    end

    { "<html>busy" => "<html>busy", "{" => "{", "NaN" => "NaN", "\"\xE4\"".b => "\"\uFFFD\"",
      "\"\xE4\"" => "\"\uFFFD\"", "\xFF\xFE{".b => "\uFFFD\uFFFD{", "<p>password=hunter2" => "<p>password=***",
      "x" * 2_000 => "#{"x" * 100}…" }.each do |body, shown|
      it "ends the step where it is #{body[0, 20].inspect} after a 2xx, and is shown" do
        response = answering(200, { "content-type" => "text/html" }, body).post(step, "/charges")

        expect(failure { response.json }).to be_an_instance_of(Stepwell::PermanentError).and have_attributes(
          message: "POST #{url} answered 200 OK, but the body is not JSON (Content-Type: text/html): #{shown.inspect}",
          code: "HTTP_NOT_JSON", context: { "body" => body.b.force_encoding("UTF-8").scrub[0, 1_000] }
        )
      end
    end

    it "asks for another attempt after another status, where a hook wants to read it" do
      reading = Class.new(answering(503, {}, "<html>").class) { define_method(:retryable?) { |it| it.json["busy"] } }

      expect(failure { reading.new.get(step, "/charges") }).to be_an_instance_of(Stepwell::RetryableError)
        .and have_attributes(code: "HTTP_NOT_JSON")
    end
  end

  describe "a body that is too large" do
    def handler(status)
      api(base_url: "https://api.example.com", max_response_size: 4,
          client: ->(_) { Specs::Http::Answer.new(status, {}, "[2345"[0, @size || 5]) })
    end

    it "is refused where it counts" do
      error = failure { handler(200).new.get(step, "/charges") }

      expect(error).to be_a(Stepwell::PermanentError).and have_attributes(
        message: "GET #{url} answered 200 OK with a body of more than 4 bytes, the handler's max_response_size",
        code: "HTTP_TOO_LARGE"
      )
      expect(step.metadata["status"]).to eq(200)
    end

    it "is accepted at the limit" do
      @size = 4
      expect(handler(200).new.get(step, "/charges").body).to eq("[234")
    end

    it "does not hide what a failure says" do
      expect(failure { handler(503).new.get(step, "/charges") }).to be_a(Stepwell::RetryableError)
      expect(failure { handler(404).new.get(step, "/charges") }).to have_attributes(code: "HTTP_404")
    end

    it "is not accepted by a subclass's hook either" do
      lenient = api(handler(404)) { define_method(:acceptable?) { |_| true } }
      reading = api(handler(200)) { define_method(:acceptable?) { |response| response.json } }

      [lenient, reading].each do |it|
        expect(failure { it.new.get(step, "/charges") }).to have_attributes(code: "HTTP_TOO_LARGE")
      end
    end
  end

  describe "trouble on the way" do
    errors = {
      Net::OpenTimeout.new("x") => ["HTTP_TIMEOUT", "no connection in time"],
      Net::ReadTimeout.new => ["HTTP_TIMEOUT", "no answer in time"],
      Errno::ETIMEDOUT.new => ["HTTP_TIMEOUT", /timed out/],
      Specs::Http::GemTimeoutError.new("waited 3 s") => ["HTTP_TIMEOUT", "waited 3 s"],
      Errno::ECONNREFUSED.new => ["HTTP_CONNECTION", /refused/], Errno::ECONNRESET.new => ["HTTP_CONNECTION", /reset/],
      Errno::EHOSTUNREACH.new => ["HTTP_CONNECTION", /route/], Errno::EPIPE.new => ["HTTP_CONNECTION", /pipe/],
      EOFError.new("end of file reached") => ["HTTP_CONNECTION", "end of file reached"],
      SocketError.new("getaddrinfo: Name or service not known") => ["HTTP_CONNECTION", /not known/],
      OpenSSL::SSL::SSLError.new("certificate verify failed") => ["HTTP_CONNECTION", "certificate verify failed"],
      Net::HTTPBadResponse.new("wrong status line") => ["HTTP_CONNECTION", "wrong status line"]
    }
    errors.each do |error, (code, why)|
      it "asks for another attempt after #{error.class.name}" do
        handler = api(client: ->(_) { raise error })
        raised = failure { handler.new.post(step, "https://me:pw@api.example.com/charges?token=secret") }

        expect(raised).to be_an_instance_of(Stepwell::RetryableError)
          .and have_attributes(code: code, cause: error, retry_after: nil, message: /\(#{error.class.name}\)\z/)
        expect(raised.message[/\APOST #{url} failed: (.*) \(/, 1]).to match(why)
        expect(step.metadata).to eq("request" => "POST #{url}")
      end
    end

    it "looks at the cause of what a client raises" do
      client = lambda do |_|
        raise Errno::ECONNREFUSED
      rescue SystemCallError
        raise Specs::Http::GemConnectionFailed, "could not connect"
      end
      error = failure { api(client: client).new.get(step, url) }

      expect(error).to be_a(Stepwell::RetryableError).and have_attributes(
        code: "HTTP_CONNECTION", message: "GET #{url} failed: could not connect (Specs::Http::GemConnectionFailed)"
      )
    end

    it "takes the error that HTTPX returns in place of an answer" do
      answer = Struct.new(:error).new(Errno::ECONNREFUSED.new)

      expect(failure { api(client: ->(_) { answer }).new.get(step, url) }).to have_attributes(code: "HTTP_CONNECTION")
    end

    it "shows neither the credentials nor the query of the URL that a client complains about" do
      client = ->(request) { raise IOError, "#{"x" * 440} broke: #{request.url} #{request.url[/\?.*/]}" }
      error = failure { api(client: client).new.get(step, "https://me:pw@h.example/a?token=secret&b=#{"c" * 90}") }

      expect(error.message).to eq("GET https://h.example/a failed: #{"x" * 440} broke: https://h.example/a  (IOError)")
    end

    it "leaves alone what is not the network's, and what a client decided itself" do
      decided = Stepwell::PermanentError.new("no")
      client = lambda do |_|
        raise Errno::ECONNRESET
      rescue SystemCallError
        raise decided
      end

      expect(failure { api(client: client).new.get(step, url) }).to equal(decided)
      expect(failure { api(client: ->(_) { nothing }).new.get(step, url) }).to be_a(NameError)
    end
  end

  { nil => "a NilClass, which has no Integer as status",
    Specs::Http::Answer.new("ok", {}, "") => "a Specs::Http::Answer, which has no Integer as status",
    Specs::Http::Answer.new(200, {}, { "a" => 1 }) => "a body that it has parsed: a Hash" }.each do |answer, what|
    it "refuses a client that returns #{what}" do
      expect(failure { api(client: ->(_) { answer }).new.get(step, url) }).to be_a(Stepwell::PermanentError)
        .and have_attributes(code: "INVALID_RESPONSE", message: "GET #{url}: the handler's client returned #{what}")
    end
  end

  it "shows nothing of a request or response where it is inspected" do
    handler = recording { define_method(:headers) { |_| { "Authorization" => "secret" } } }
    response = handler.post(step, "/charges?key=secret", body: "secret")

    expect(sent[0].inspect).to eq("#<Stepwell::ApiHandler::Request POST https://api.example.com/v1/charges>")
    expect(response.inspect)
      .to eq("#<Stepwell::ApiHandler::Response POST https://api.example.com/v1/charges answered 200 OK>")
  end
end
