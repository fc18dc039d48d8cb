# frozen_string_literal: true

module Stepwell
  class ApiHandler < StepHandler
    # The body of an answer, read as JSON. That is UTF-8 (RFC 8259); an API that has it otherwise says so by a byte
    # order mark or a charset, and one that says so wrongly is understood where its bytes are UTF-8.
    # @api private
    module JsonBody
      # Longer ones first: one mark begins as another.
      MARKS = { "\xFF\xFE\0\0".b => Encoding::UTF_32LE, "\0\0\xFE\xFF".b => Encoding::UTF_32BE,
                "\xEF\xBB\xBF".b => Encoding::UTF_8, "\xFF\xFE".b => Encoding::UTF_16LE,
                "\xFE\xFF".b => Encoding::UTF_16BE }.freeze
      # What their names stand for where there is no mark (RFC 2781).
      BIG_ENDIAN = { Encoding::UTF_16 => Encoding::UTF_16BE, Encoding::UTF_32 => Encoding::UTF_32BE }.freeze
      private_constant :MARKS, :BIG_ENDIAN

      module_function

      # @param body [String] in whatever encoding a client has put it
      # @param type [String, nil] the header Content-Type
      # @return [Object] any JSON; nil of a body that is empty
      # @raise [JSON::ParserError]
      def parse(body, type)
        bytes = body.b
        mark, marked = MARKS.find { |it, _| bytes.start_with?(it) }
        bytes = bytes.delete_prefix(mark) if mark
        return if bytes.strip.empty?

        encodings = marked ? [marked] : [Encoding::UTF_8, body.encoding, charset(type)].compact
        encodings.uniq.each do |encoding|
          return JsonValue.parse(utf8(bytes.dup.force_encoding(encoding)))
        rescue JSON::ParserError, EncodingError
          next
        end
        raise JSON::ParserError, "not JSON"
      end

      # @return [Encoding, nil]
      def charset(type)
        name = type.to_s[/;\s*charset\s*=\s*"?([\w.:-]+)/i, 1] or return
        encoding = Encoding.find(name)
        BIG_ENDIAN.fetch(encoding, encoding)
      rescue ArgumentError # unknown
        nil
      end

      def utf8(text)
        raise EncodingError, "not valid" unless text.valid_encoding? # encode would not look at what is UTF-8

        text.encode(Encoding::UTF_8)
      end
    end
  end
end
