# frozen_string_literal: true

module Stepwell
  # Ruby values as JSON, strictly: what JSON does not know is refused and named, instead of becoming "#<Object:0x…>".
  # @api private
  module JsonValue
    # The value is not JSON.
    class Refused < Error; end

    # How deep arrays and hashes may stand in each other.
    DEEPEST = 100

    module_function

    # @param value [Object]
    # @param root [String, nil] what it is, for messages
    # @return [String] JSON text
    # @raise [Refused] naming the place and what stands there
    def generate(value, root = nil)
      check(value, root)
      write(value)
    rescue JSON::GeneratorError, EncodingError => e
      raise Refused, "is not JSON: #{e.message.dup.force_encoding(Encoding::UTF_8).scrub}"
    end

    # @return [String] JSON text of what has been checked
    def write(value)
      JSON.generate(value, max_nesting: 0)
    end

    # @return [Object] what the JSON text says, however deep: what is stored was refused when it came, or can be read
    # @raise [Error] for what is so deep that this thread's stack does not reach there
    def parse(text)
      JSON.parse(text, max_nesting: 0)
    rescue SystemStackError
      raise Error, "JSON that is nested too deep to be read here: #{text[0, 40]}…"
    end

    # @param path [Array, String, nil] where it stands: a pair of the path before and the last key or index; at first
    #   what the value is called
    # @return [nil]
    # @raise [Refused]
    def check(value, path = nil, depth = 0)
      case value
      when nil, true, false, Integer then nil
      when String, Symbol then check_text(value, path)
      when Float
        raise Refused, "is not JSON: #{value}#{place(path)}" unless value.finite?
      when Hash, Array then check_items(value, path, depth)
      else
        raise Refused, "is not JSON: a #{value.class}#{place(path)} " \
                       "(give a String, Integer, Float, Array, Hash, true, false or nil)"
      end
    end

    def check_text(text, path)
      return if utf8?(text)

      kind = text.is_a?(Symbol) ? "Symbol" : "String"
      raise Refused, "is not JSON: a #{kind} that is not UTF-8#{place(path)} (its encoding is #{text.encoding})"
    end

    # @param text [String, Symbol]
    # @return [Boolean] whether it is, or can be made; bytes without an encoding count as what they look like
    def utf8?(text)
      encoding = text.encoding
      if text.is_a?(Symbol) # is valid in its encoding
        return true if encoding == Encoding::UTF_8 || encoding == Encoding::US_ASCII # rubocop:disable Style/MultipleComparison

        text = text.to_s
      end
      case encoding
      when Encoding::UTF_8, Encoding::US_ASCII then text.valid_encoding?
      when Encoding::BINARY then text.dup.force_encoding(Encoding::UTF_8).valid_encoding?
      else text.encode(Encoding::UTF_8).valid_encoding?
      end
    rescue EncodingError
      false
    end

    def check_items(items, path, depth)
      raise Refused, "is not JSON: it is nested more than #{DEEPEST} deep, or contains itself" if depth == DEEPEST

      if items.is_a?(Hash)
        items.each { |key, item| check_key(key, path) && check(item, [path, key], depth + 1) }
      else
        items.each_with_index { |item, index| check(item, [path, index], depth + 1) }
      end
    end

    def check_key(key, path)
      is_text = key.is_a?(String) || key.is_a?(Symbol)
      return true if is_text && utf8?(key)

      if is_text
        raise Refused,
              "is not JSON: the key #{key.inspect}#{place(path)} is not UTF-8 (its encoding is #{key.encoding})"
      end

      raise Refused, "is not JSON: the key #{key.inspect}#{place(path)} is a #{key.class}, not a String or Symbol"
    end

    # Paths are built as pairs and written out only for a message: as Ruby reaches it where the value has a name, else
    # as a path through a document.
    def place(path)
      parts = []
      while path.is_a?(Array)
        path, part = path
        parts.unshift(part)
      end
      return "" if parts.empty?

      path ? " at #{path}#{parts.map { |it| "[#{it.inspect}]" }.join}" : " at #{parts.join(".")}"
    end
  end
end
