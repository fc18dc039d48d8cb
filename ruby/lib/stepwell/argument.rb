# frozen_string_literal: true

module Stepwell
  # Reads what callers give: seconds, texts, whole numbers. What is none is refused by the argument's name.
  # @api private
  module Argument
    # More seconds are endless: nobody waits for thirty million years.
    ENDLESS = 1e15

    module_function

    # How long to wait.
    # @param name [Symbol, String] of the argument, for messages
    # @param value [Numeric, nil] seconds, also a duration of ActiveSupport; nil is endless
    # @return [Float, nil] not negative; nil is endless
    # @raise [ValidationError]
    def patience(name, value)
      return if value.nil?

      seconds = seconds(name, value)
      seconds < ENDLESS ? [seconds, 0.0].max : nil
    end

    # @param name [Symbol, String]
    # @param value [Numeric] also a duration of ActiveSupport, which says that it is one
    # @return [Float] may be infinite
    # @raise [ValidationError]
    def seconds(name, value)
      number = value.to_f if value.is_a?(Numeric)
      return number if number && !number.nan?

      raise ValidationError, "#{name}: #{shown(value)} is no number of seconds"
    rescue RangeError # of a complex number
      raise ValidationError, "#{name}: #{shown(value)} is no number of seconds"
    end

    # @param name [Symbol, String]
    # @param value [Integer]
    # @param range [Range<Integer>] what is allowed
    # @return [Integer]
    # @raise [ValidationError]
    def integer(name, value, range)
      # By its class: a duration of ActiveSupport says that it is an Integer.
      return value if Integer === value && range.cover?(value) # rubocop:disable Style/CaseEquality

      raise ValidationError, "#{name}: #{shown(value)} must be an Integer from #{range.min} to #{range.max}"
    end

    # @param name [Symbol, String]
    # @param value [String, Symbol]
    # @return [String] UTF-8
    # @raise [ValidationError]
    def text(name, value)
      return utf8(name, value.to_s) if value.is_a?(String) || value.is_a?(Symbol)

      raise ValidationError, "#{name}: must be a String, not #{a(value)}"
    end

    # @return [String, nil] the same, where there is one
    def optional_text(name, value)
      value.nil? ? nil : text(name, value)
    end

    # @param reason [String, Symbol, nil] why somebody does something
    # @param actor [String, Symbol, nil] who
    # @return [Array<String, nil>]
    def note(reason, actor)
      [optional_text(:reason, reason), optional_text(:actor, actor)]
    end

    # @param name [Symbol, String]
    # @param text [String] of any encoding; bytes without one count as what they look like
    # @return [String] UTF-8
    # @raise [ValidationError]
    def utf8(name, text)
      utf8 = text.encoding == Encoding::BINARY ? text.dup.force_encoding(Encoding::UTF_8) : text.encode(Encoding::UTF_8)
      return utf8 if utf8.valid_encoding?

      raise ValidationError, "#{name}: #{shown(text)} is not UTF-8 (its encoding is #{text.encoding})"
    rescue EncodingError
      raise ValidationError, "#{name}: #{shown(text)} cannot be made UTF-8 (its encoding is #{text.encoding})"
    end

    # @return [String] the beginning of what it looks like, for messages
    def shown(value)
      text = value.inspect.encode(Encoding::UTF_8, invalid: :replace, undef: :replace)
      text.size > 100 ? "#{text[0, 100]}…" : text
    end

    # @return [String] what it is, for messages
    def a(value)
      value.nil? ? "nil" : "a #{value.class}"
    end
  end
end
