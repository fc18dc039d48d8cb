# frozen_string_literal: true

require "openssl"
require "socket"
require "spec_helper"

module Specs
  # A server on a port of this machine, for one example: one connection after the other, one request a connection. A
  # block gets each request, and returns the whole answer as text, or does as it likes with the socket.
  class HttpServer
    Request = Struct.new(:verb, :target, :headers, :body)

    attr_reader :requests

    # @param tls [OpenSSL::SSL::SSLContext, nil]
    def initialize(tls: nil, &answer)
      @tcp = @server = TCPServer.new("127.0.0.1", 0)
      @server = OpenSSL::SSL::SSLServer.new(@tcp, tls) if tls
      @requests = Queue.new
      @answer = answer
      @thread = Thread.new { serve }
      @thread.report_on_exception = false # stop raises it
    end

    def url
      "#{@server == @tcp ? "http" : "https"}://127.0.0.1:#{@tcp.addr[1]}"
    end

    # @return [Request] the next one that it got
    def request
      Timeout.timeout(10) { @requests.pop }
    end

    def stop
      @stopping = true
      TCPSocket.new("127.0.0.1", @tcp.addr[1]).close # accept returns
      raise "the server's thread did not end" unless @thread.join(10)
    ensure
      @tcp.close
    end

    private

    def serve
      until @stopping
        begin
          socket = @server.accept
        rescue OpenSSL::SSL::SSLError
          next
        end
        begin
          answer(socket) unless @stopping
        ensure
          socket.close
        end
      end
    end

    def answer(socket)
      request = read(socket) or return
      @requests << request
      text = @answer.call(request, socket)
      socket.write(text) if text
    rescue Errno::EPIPE, Errno::ECONNRESET # the client did not want to read it all
      nil
    end

    def read(socket)
      line = socket.gets or return
      method, target, = line.split
      headers = {}
      while (line = socket.gets&.chomp) && !line.empty?
        name, value = line.split(": ", 2)
        headers[name.downcase] = value
      end
      Request.new(method, target, headers, socket.read(headers["content-length"].to_i))
    end
  end

  # What the specs of ApiHandler share.
  module Http
    # What an ApiHandler needs of a step.
    Step = Struct.new(:idempotency_key, :metadata)
    # What clients of other gems raise.
    GemTimeoutError = Class.new(StandardError)
    GemConnectionFailed = Class.new(StandardError)
    Answer = Struct.new(:status, :headers, :body)

    # @return [HttpServer] stopped at the end of the example
    def start_server(**options, &answer)
      HttpServer.new(**options, &answer).tap { |server| (@servers ||= []) << server }
    end

    def stop_servers
      (@servers || []).each(&:stop)
    end

    def step
      @step ||= Step.new("task:charge", {})
    end

    # @return [String] an answer as it goes through the wire
    def http(status, headers = {}, body = "")
      lines = { "Content-Length" => body.bytesize }.merge(headers).map { |name, value| "#{name}: #{value}" }
      ["HTTP/1.1 #{status} #{status == 200 ? "OK" : "Whatever"}", *lines, "", body].join("\r\n")
    end

    # @return [Class] a handler with these settings; the block is the class body
    def api(base = Stepwell::ApiHandler, **settings, &block)
      Class.new(base) do
        settings.each { |name, value| public_send(name, value) }
        class_eval(&block) if block
      end
    end

    # @return [Stepwell::ApiHandler] one whose client answers this to everything
    def answering(status, headers = {}, body = "", &block)
      api(base_url: "https://api.example.com", client: ->(_) { Answer.new(status, headers, body) }, &block).new
    end

    # @return [Stepwell::ApiHandler] one whose client keeps the requests in `sent`
    def recording(**settings, &block)
      requests = sent
      client = ->(request) { (requests << request) && Answer.new(200, {}, "{}") }
      api(base_url: "https://api.example.com/v1", client: client, **settings, &block).new
    end

    # @return [Array<Stepwell::ApiHandler::Request>]
    def sent
      @sent ||= []
    end

    # @return [StandardError] what the block raises
    def failure
      yield
    rescue StandardError => e
      e
    else
      raise "nothing was raised"
    end
  end
end

RSpec.configure do |config|
  config.include Specs::Http, file_path: %r{spec/api_handler/}
  config.after(file_path: %r{spec/api_handler/}) { stop_servers }
end
