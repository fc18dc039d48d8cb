# frozen_string_literal: true

require_relative "support"

RSpec.describe Stepwell::ApiHandler, "what is asked" do
  defaults = { "Accept" => "application/json, */*;q=0.5", "User-Agent" => "Stepwell/#{Stepwell::VERSION}" }
  key = { "Idempotency-Key" => "task:charge" }

  it "has a method for each of the usual ones, and one for all" do
    handler = recording(idempotency_header: nil)
    %i[get post put patch delete].each { |name| handler.public_send(name, step, "/a") }
    handler.request(step, "head", "/a")

    expect(sent.map(&:method)).to eq(%w[GET POST PUT PATCH DELETE HEAD])
    expect(sent).to all(have_attributes(url: "https://api.example.com/v1/a", headers: defaults, body: nil))
    expect(sent).to all(be_frozen)
  end

  { "/a" => "/v1/a", "a" => "/v1/a", "" => "/v1", "?x=1" => "/v1?x=1", "//evil.example/a" => "/v1//evil.example/a",
    "/a?x=1#top" => "/v1/a?x=1" }.each do |path, target|
    it "appends #{path.inspect} to the base" do
      recording.get(step, path)
      recording(base_url: "https://api.example.com/v1/").get(step, path)

      expect(sent.map(&:url)).to eq(["https://api.example.com#{target}"] * 2)
    end
  end

  it "takes a whole URL as it is" do
    ["http://localhost:8080/a", "HTTPS://Other.example?x", "http://[::1]:81/"].each { |url| recording.get(step, url) }

    expect(sent.map(&:url)).to eq(["http://localhost:8080/a", "https://Other.example/?x", "http://[::1]:81/"])
  end

  it "appends the query, encoded" do
    recording.get(step, "/a?z=1", query: { q: "ü & b", list: [1, 2], none: nil })
    recording.get(step, "/a", query: nil)

    expect(sent.map(&:url)).to eq(["https://api.example.com/v1/a?z=1&q=%C3%BC+%26+b&list=1&list=2",
                                   "https://api.example.com/v1/a"])
  end

  it "sends JSON, or text of any type" do
    recording.post(step, "/a", json: { amount: 5, list: [nil, "ü"] })
    recording.put(step, "/a", body: "a=1", headers: { "content-type" => "application/x-www-form-urlencoded" })
    recording.patch(step, "/a", body: "\xFF".b)

    expect(sent.map(&:body)).to eq(['{"amount":5,"list":[null,"ü"]}', "a=1", "\xFF".b])
    expect(sent.map { |it| it.header("Content-Type") })
      .to eq(%w[application/json application/x-www-form-urlencoded application/octet-stream])
  end

  it "lets the call's headers win over the handler's, and those over the defaults, in any case" do
    handler = recording do
      define_method(:headers) { |step| { "authorization" => "Bearer #{step.idempotency_key}", "ACCEPT" => "text/csv" } }
    end
    handler.get(step, "/a", headers: { :Authorization => "mine", "user-agent" => nil, "X-N" => 5 })
    handler.get(step, "/a", headers: nil)

    expect(sent.map(&:headers))
      .to eq([{ "ACCEPT" => "text/csv", "Authorization" => "mine", "X-N" => "5" },
              { "ACCEPT" => "text/csv", "authorization" => "Bearer task:charge",
                "User-Agent" => "Stepwell/#{Stepwell::VERSION}" }])
  end

  it "turns credentials in a URL into a header, and shows them nowhere" do
    handler = recording(base_url: "https://me%40x:p%2Fw@api.example.com")
    handler.get(step, "/a?token=secret")

    expect(sent[0].url).to eq("https://api.example.com/a?token=secret")
    expect(sent[0].header("authorization")).to eq("Basic #{["me@x:p/w"].pack("m0")}")
    expect(step.metadata["request"]).to eq("GET https://api.example.com/a")
  end

  describe "the idempotency key" do
    it "goes with what changes something" do
      %i[post put patch delete].each { |method| recording.request(step, method, "/a") }
      %i[get head options].each { |method| recording.request(step, method, "/a") }

      expect(sent.map { |it| it.headers.reject { |name, _| defaults.key?(name) } }).to eq(([key] * 4) + ([{}] * 3))
    end

    it "can be another, or none" do
      recording.post(step, "/a", idempotency_key: "task:charge:fee")
      recording.post(step, "/a", idempotency_key: nil)
      recording.post(step, "/a", headers: { "idempotency-key" => "mine" })
      recording(idempotency_header: nil).post(step, "/a")
      recording(idempotency_header: "X-Once").post(step, "/a")

      expect(sent.map { |it| it.headers.reject { |name, _| defaults.key?(name) } })
        .to eq([{ "Idempotency-Key" => "task:charge:fee" }, {}, { "idempotency-key" => "mine" }, {},
                { "X-Once" => "task:charge" }])
    end

    it "stands for one request of an attempt: another one needs its own" do
      handler = recording
      2.times { handler.post(step, "/a", json: 1) } # the handler tries it again itself
      handler.post(step, "https://other.example/a", json: 2)
      handler.post(step, "/a", json: 2, idempotency_key: "#{step.idempotency_key}:2")
      error = failure { handler.post(step, "/a?q", json: 3) }

      expect(error).to be_a(Stepwell::PermanentError).and have_attributes(
        code: "INVALID_REQUEST",
        message: "POST https://api.example.com/v1/a: the step sent another request with the same Idempotency-Key; " \
                 "give each its own idempotency_key:, or nil to send none"
      )
      expect(sent.size).to eq(4)
    end
  end

  describe "a request that cannot be made" do
    { "a path without base_url" => ["/a?token=secret", {}, 'the URL "/a" is relative, and the handler has no base_url'],
      "another scheme" => ["ftp://me:pw@host/a", {}, '"ftp://host/a" is no http(s) URL, or not percent-encoded'],
      "no host" => ["http:///a", {}, '"http:///a" is no http(s) URL, or not percent-encoded'],
      "a space" => ["http://me:p@w@h/a b?token=secret", {}, '"http://h/a b" is no http(s) URL, or not percent-encoded'],
      "no text" => ["http://h/\xFF", {}, '"" is no http(s) URL, or not percent-encoded'],
      "two bodies" => ["http://h/", { body: "a", json: 1 }, "give body: or json:, not both"],
      "a body that is no text" => ["http://h/", { body: { a: 1 } },
                                   "body: is a Hash, not a String; json: takes other values"],
      "no JSON" => ["http://h/", { json: { at: Time.now } }, /\Awhat json: is given is not JSON: a Time at at/],
      "a header with a line break" => ["http://h/", { headers: { "X-A" => "secret\r\nB: c" } },
                                       "the header X-A holds a line break or NUL"],
      "a header without a name" => ["http://h/", { headers: { "a b" => "" } }, '"a b" is no name of a header'] }
      .each do |what, (url, options, message)|
        it "is refused for ever, and not sent: #{what}" do
          handler = api(client: ->(request) { sent << request })

          error = failure { handler.new.post(step, url, **options) }
          expect(error).to be_an_instance_of(Stepwell::PermanentError)
            .and have_attributes(code: "INVALID_REQUEST", message: message)
          expect(error.cause).to be_nil.or be_a(Stepwell::Error) # an URI::Error would show the secrets
          expect(sent).to be_empty
        end
      end

    it "has a method that is none" do
      expect(failure { recording.request(step, "GET /", "/a") })
        .to have_attributes(code: "INVALID_REQUEST", message: '"GET /" is no HTTP method')
    end
  end

  describe "the settings" do
    it "have defaults, are inherited, and can be set anew" do
      expect(described_class).to have_attributes(base_url: nil, open_timeout: 5, read_timeout: 30, client: nil,
                                                 max_response_size: 10_485_760, idempotency_header: "Idempotency-Key")
      parent = api(base_url: "https://a.example", read_timeout: 1.5, client: :itself.to_proc, idempotency_header: "X")
      child = api(api(parent, read_timeout: 2), client: nil, idempotency_header: nil)
      parent.base_url("https://b.example")

      expect(child).to have_attributes(base_url: "https://b.example", read_timeout: 2, client: nil, open_timeout: 5,
                                       idempotency_header: nil)
      expect(parent.read_timeout).to eq(1.5)
    end

    { base_url: ["api.example.com", "ftp://a.example", "https://a.example?x=1", "https://a.example#x", 5],
      open_timeout: [0, -1, nil, "5", Float::INFINITY], read_timeout: [0, nil, Float::NAN],
      max_response_size: [0, 1.5, nil], idempotency_header: ["", "a b", :a], client: [5, "a"] }.each do |name, values|
      it "#{name} refuses what cannot be right" do
        values.each do |value|
          expect { api(name => value) }.to raise_error(Stepwell::ValidationError, /\A#{name}: .* must be /)
        end
      end
    end

    it "base_url does not show its secrets when it is refused" do
      expect { api(base_url: "https://me:pw@a.example?token=secret") }
        .to raise_error(Stepwell::ValidationError,
                        'base_url: "https://a.example" must be an http(s) URL without query and fragment')
    end
  end
end
