# frozen_string_literal: true

require "socket"

module Specs
  # A receiver of traces: an HTTP server that takes OTLP in Protocol Buffers and keeps the spans.
  class OtlpReceiver
    Span = Struct.new(:trace, :id, :parent, :name, :kind, :attributes, :error, :service, keyword_init: true)

    def initialize
      @server = TCPServer.new("127.0.0.1", 0)
      @spans = Queue.new
      @thread = Thread.new { loop { serve(@server.accept) } }
    end

    # @return [String]
    def url
      "http://127.0.0.1:#{@server.addr[1]}"
    end

    # @return [Array<Span>] all that have come
    def spans
      @taken = Array(@taken) + Array.new(@spans.size) { @spans.pop }
    end

    # @return [Span] the only one of this name
    def span(name)
      found = spans.select { |span| span.name == name }
      raise "#{found.size} spans #{name} of #{spans.map(&:name)}" unless found.one?

      found.first
    end

    def close
      @thread.kill.join
      @server.close
    end

    private

    def serve(socket)
      Thread.new do
        while (head = socket.gets("\r\n\r\n"))
          read(Wire.fields(socket.read(head[/^content-length: (\d+)/i, 1].to_i)))
          socket.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        end
      ensure
        socket.close
      end
    end

    def read(request)
      request.fetch(1, []).map { |resource| Wire.fields(resource) }.each do |resource|
        service = attributes(resource[1]&.flat_map { |it| Wire.fields(it).fetch(1, []) })["service.name"]
        scopes = resource.fetch(2, []).flat_map { |scope| Wire.fields(scope).fetch(2, []) }
        scopes.each { |span| @spans << span_of(Wire.fields(span), service) }
      end
    end

    def span_of(fields, service)
      ids = [1, 2, 4].map { |field| fields.fetch(field, [""]).first.unpack1("H*") }
      status = fields[15] ? Wire.fields(fields[15].first) : {}
      Span.new(trace: ids[0], id: ids[1], parent: ids[2], name: fields[5].first.force_encoding("UTF-8"),
               kind: fields[6]&.first, attributes: attributes(fields[9]), service: service,
               error: (status.fetch(2, [""]).first if status[3] == [2]))
    end

    def attributes(pairs)
      Array(pairs).to_h do |pair|
        key, value = Wire.fields(pair).values_at(1, 2).map(&:first)
        [key, Wire.fields(value).values.first.first]
      end
    end

    # Protocol Buffers as they are on the wire: fields by number, each with all its values.
    module Wire
      module_function

      def fields(bytes)
        found = Hash.new { |all, field| all[field] = [] }
        at = 0
        while at < bytes.bytesize
          tag, at = varint(bytes, at)
          value, at = value(bytes, at, tag & 7)
          found[tag >> 3] << value
        end
        found.default = nil
        found
      end

      def value(bytes, at, type)
        case type
        when 0 then varint(bytes, at)
        when 1 then [bytes.byteslice(at, 8).unpack1("Q<"), at + 8]
        when 5 then [bytes.byteslice(at, 4).unpack1("L<"), at + 4]
        else
          length, at = varint(bytes, at)
          [bytes.byteslice(at, length), at + length]
        end
      end

      def varint(bytes, at)
        number = shift = 0
        loop do
          byte = bytes.getbyte(at)
          number |= (byte & 127) << shift
          at += 1
          shift += 7
          return [number, at] if byte < 128
        end
      end
    end
  end
end
