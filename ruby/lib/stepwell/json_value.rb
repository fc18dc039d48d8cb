# frozen_string_literal: true

module Stepwell
  # Ruby values as JSON, strictly: what JSON does not know is refused and named, instead of becoming "#<Object:0x…>".
  # @api private
  module JsonValue
    # The value is not JSON.
    class Refused < Error; end

    module_function

    # @param value [Object]
    # @return [String] JSON text
    # @raise [Refused] naming the place and what stands there
    def generate(value)
      check(value, nil)
      JSON.generate(value)
    rescue JSON::GeneratorError, JSON::NestingError, EncodingError => e
      raise Refused, "is not JSON: #{e.message.dup.force_encoding(Encoding::UTF_8).scrub}"
    rescue SystemStackError
      raise Refused, "is not JSON: it is nested too deeply, or contains itself"
    end

    # @raise [Refused]
    def check(value, path)
      case value
      when nil, true, false, Integer, String, Symbol then nil
      when Float
        raise Refused, "is not JSON: #{value}#{place(path)}" unless value.finite?
      when Hash
        value.each { |key, item| check_key(key, path) && check(item, [path, key]) }
      when Array
        value.each_with_index { |item, index| check(item, [path, index]) }
      else
        raise Refused, "is not JSON: a #{value.class}#{place(path)} " \
                       "(give a String, Integer, Float, Array, Hash, true, false or nil)"
      end
    end

    def check_key(key, path)
      return true if key.is_a?(String) || key.is_a?(Symbol)

      raise Refused, "is not JSON: the key #{key.inspect}#{place(path)} is a #{key.class}, not a String or Symbol"
    end

    # Paths are built as pairs and written out only for a message.
    def place(path)
      parts = []
      while path
        path, part = path
        parts.unshift(part)
      end
      parts.empty? ? "" : " at #{parts.join(".")}"
    end
  end
end
