# frozen_string_literal: true

require_relative "support"

RSpec.describe Stepwell::ApiHandler, "by Net::HTTP" do
  def handler(server, **settings)
    api(base_url: server.url, **settings).new
  end

  it "sends what it is given, and returns what comes back" do
    server = start_server { |_| http(200, { "X-Request-Id" => "r1", "X-Two" => "a\r\nX-Two: b" }, '{"id":"ü"}') }
    response = handler(server).post(step, "/v1/charges", query: { a: "b c" }, json: { amount: 5 },
                                                         headers: { "Authorization" => "Bearer t" })

    request = server.request
    expect(request).to have_attributes(verb: "POST", target: "/v1/charges?a=b+c", body: '{"amount":5}')
    expect(request.headers).to eq(
      "accept" => "application/json, */*;q=0.5", "accept-encoding" => "identity", "authorization" => "Bearer t",
      "connection" => "close", "content-length" => "12", "content-type" => "application/json",
      "host" => server.url.delete_prefix("http://"), "idempotency-key" => "task:charge",
      "user-agent" => "Stepwell/#{Stepwell::VERSION}"
    )
    expect(response).to have_attributes(status: 200, json: { "id" => "ü" })
    expect(response.headers["x-two"]).to eq("a, b")
    expect(step.metadata["headers"]).to eq("X-Request-Id" => "r1")
  end

  { get: nil, head: nil, delete: nil, post: "0", put: "0", patch: "0" }.each do |method, length|
    it "sends #{method.upcase} without a body" do
      server = start_server { |_| http(204, { "Content-Length" => 5 }) }
      response = handler(server).request(step, method, "/a")

      expect(response).to have_attributes(status: 204, body: "")
      expect(server.request.headers["content-length"]).to eq(length)
      expect(server.requests).to be_empty
    end
  end

  it "sends a body with any method" do
    server = start_server { |_| http(200) }
    %i[get delete].each { |method| handler(server).request(step, method, "/a", json: { q: 1 }) }

    expect(Array.new(2) { server.request.body }).to eq(['{"q":1}'] * 2)
  end

  it "reads chunked bodies, those that end with the connection, and bytes that are no text" do
    answers = ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
               "HTTP/1.1 200 OK\r\n\r\nuntil the end", http(200, {}, "\xFF\x00".b)]
    server = start_server { |_| answers.shift }

    bodies = Array.new(3) { handler(server).get(step, "/a").body }
    expect(bodies).to eq(["abcde", "until the end", "\xFF\x00".b])
    expect(bodies.map(&:encoding)).to eq([Encoding::UTF_8, Encoding::UTF_8, Encoding::BINARY])
  end

  it "does not follow a redirect" do
    server = start_server { |_| http(307, { "Location" => "/b?x" }) }

    expect(failure { handler(server).get(step, "/a") }).to have_attributes(
      code: "HTTP_307", message: %r{answered 307 Temporary Redirect, which points to /b; redirects are not followed}
    )
    expect(server.requests.size).to eq(1)
  end

  it "stops reading what is larger than allowed" do
    server = start_server do |_, socket|
      socket.write("HTTP/1.1 200 OK\r\n\r\n")
      loop { socket.write("x" * 100_000) } # ends when the client has closed the connection
    end

    expect(failure { handler(server, max_response_size: 1_000_000).get(step, "/a") })
      .to be_a(Stepwell::PermanentError).and have_attributes(code: "HTTP_TOO_LARGE", message: /more than 1000000 bytes/)
  end

  broken = { "nothing" => "", "half a body" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
             "half a body of an error" => "HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nabc",
             "half of the chunks" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
             "no HTTP" => "SSH-2.0-OpenSSH_9.2\r\n", "no length" => "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n" }
  broken.each do |what, answer|
    it "asks for another attempt where #{what} comes back, and does not repeat the request itself" do
      server = start_server { |_| answer }
      error = failure { handler(server).get(step, "/a?token=secret") }

      expect(error).to be_an_instance_of(Stepwell::RetryableError)
        .and have_attributes(code: "HTTP_CONNECTION", message: %r{\AGET #{server.url}/a failed: })
      expect(error.cause).to be_a(StandardError)
      expect(server.requests.size).to eq(1)
    end
  end

  it "says how much of a body came" do
    server = start_server { |_| broken["half a body"] }

    expect(failure { handler(server).get(step, "/a") }.message)
      .to end_with("the connection was closed after 3 of 100 bytes of the body (EOFError)")
  end

  it "asks for another attempt where the connection is reset" do
    server = start_server do |_, socket|
      socket.setsockopt(Socket::Option.linger(true, 0))
      nil
    end

    expect(failure { handler(server).get(step, "/a") })
      .to have_attributes(code: "HTTP_CONNECTION", cause: be_a(Errno::ECONNRESET))
  end

  it "asks for another attempt where nobody listens" do
    url = TCPServer.open("127.0.0.1", 0) { |server| "http://127.0.0.1:#{server.addr[1]}" }
    error = failure { api(base_url: url).new.get(step, "/a") }

    expect(error).to be_a(Stepwell::RetryableError).and have_attributes(code: "HTTP_CONNECTION", message: /refused/)
    expect(error.cause).to be_a(Errno::ECONNREFUSED)
  end

  it "does not wait longer than read_timeout for an answer" do
    server = start_server { |_, socket| socket.read && nil } # until the client closes the connection
    started = Specs::Patience.now
    error = failure { handler(server, read_timeout: 0.05).get(step, "/a") }

    expect(error).to be_an_instance_of(Stepwell::RetryableError).and have_attributes(
      code: "HTTP_TIMEOUT", message: "GET #{server.url}/a failed: no answer in time (Net::ReadTimeout)"
    )
    expect(Specs::Patience.now - started).to be_between(0.05, 10)
    expect(server.requests.size).to eq(1)
  end

  describe "with TLS" do
    key = OpenSSL::PKey::EC.generate("prime256v1")
    certificate = OpenSSL::X509::Certificate.new.tap do |it|
      it.version = 2
      it.serial = 1
      it.subject = it.issuer = OpenSSL::X509::Name.parse("/CN=spec")
      it.public_key = key
      it.not_before = Time.now - 3600
      it.not_after = Time.now + 3600
      extensions = OpenSSL::X509::ExtensionFactory.new(it, it)
      it.add_extension(extensions.create_extension("basicConstraints", "CA:TRUE", true))
      it.add_extension(extensions.create_extension("subjectAltName", "IP:127.0.0.1"))
      it.sign(key, "SHA256")
    end

    let(:server) do
      tls = OpenSSL::SSL::SSLContext.new
      tls.cert = certificate
      tls.key = key
      start_server(tls: tls) { |_| http(200, {}, "secure") }
    end

    it "asks for another attempt where the certificate is not to be trusted, and has sent nothing" do
      expect(failure { handler(server).get(step, "/a") }).to be_a(Stepwell::RetryableError)
        .and have_attributes(code: "HTTP_CONNECTION", message: /certificate verify failed/,
                             cause: be_a(OpenSSL::SSL::SSLError))
      expect(server.requests).to be_empty
    end

    it "trusts what the system trusts, for the name it is for" do
      Tempfile.create("trusted") do |file|
        file.write(certificate.to_pem)
        file.close
        process = run_ruby(<<~RUBY, env: { "SSL_CERT_FILE" => file.path })
          step = Struct.new(:idempotency_key, :metadata).new("key", {})
          ["127.0.0.1", "localhost"].each do |host|
            puts Stepwell::ApiHandler.new.get(step, "#{server.url}/a".sub("127.0.0.1", host)).body
          rescue Stepwell::RetryableError => e
            puts e.message
          end
        RUBY

        expect(process.gets).to eq("secure")
        expect(process.gets).to match(%r{localhost:\d+/a failed: .*hostname})
        process.wait
      end
    end
  end
end
