# frozen_string_literal: true

module Stepwell
  class Configuration
    # One section of the settings: an attribute for each of its keys in config/stepwell.yml.
    class Section
      include OneLine

      # Seconds that the core reads as "never".
      ENDLESS = 1e18
      private_constant :ENDLESS

      class << self
        # @api private
        # @return [Hash{Symbol => Class}] a class for each section, with the keys that the core knows
        def all
          @all ||= Native::Config.keys.map { |key| key.split(".", 2) }.select { |_, key| key } # namespaces has none
                                 .group_by(&:first).to_h { |name, keys| [name.to_sym, with(name, keys.map(&:last))] }
        end

        # @api private
        # @raise [ConfigurationError] as the core says it: with what is allowed, and what may have been meant
        def refuse(name, value)
          Native::Config.load("test", JSON.generate({ name => value }))
          raise ConfigurationError, "Stepwell.configure: #{name} cannot be set" # the core knows it, and Ruby does not
        end

        private

        # @return [Class] of a section with these keys; one with a dot is a table inside, set as a Hash
        def with(name, keys)
          names = keys.map { |key| key[/\A[^.]+/] }.uniq
          Class.new(self) do
            define_singleton_method(:section) { name }
            define_singleton_method(:keys) { names }
            names.each do |key|
              define_method(key) { self[key] }
              define_method(:"#{key}=") { |value| self[key] = value }
            end
          end
        end
      end

      # Nothing is set.
      def initialize
        @values = {}
      end

      # @param key [String, Symbol]
      # @return [Object, nil] what the program has set; nil when it has set nothing
      def [](key)
        @values[key.to_s]
      end

      # @param key [String, Symbol]
      # @param value [Object, nil] durations in seconds or as a text with its unit; nil takes back what was set
      # @raise [ConfigurationError] when there is no such key
      def []=(key, value)
        Section.refuse(self.class.section, { key => value }) unless self.class.keys.include?(key.to_s)
        value.nil? ? @values.delete(key.to_s) : @values[key.to_s] = checked(key, value)
      end

      # @api private
      # @param values [Hash{String => Object}] what {to_h} returned
      def restore(values)
        @values = values.dup
      end

      # @return [Hash{String => Object}] what the program has set
      def to_h
        @values.dup
      end

      # @return [String]
      def inspect
        "#<Stepwell::Configuration::Section #{self.class.section} #{Native.mask_json(JsonValue.write(@values))}>"
      end

      private

      def checked(key, value)
        plain(value).tap { |it| JsonValue.check(it) }
      rescue ValidationError, JsonValue::Refused => e
        raise ConfigurationError, "Stepwell.configure: #{self.class.section}.#{key}: #{e.message}"
      end

      # @return what JSON has a word for
      def plain(value)
        case value
        when Integer, String, true, false, nil then value
        when Symbol, Pathname then value.to_s
        when Array then value.map { |item| plain(item) }
        when Hash then value.transform_values { |item| plain(item) }
        else value.is_a?(Numeric) ? seconds(value) : value
        end
      end

      # Also of a Rational, or of 90.seconds.
      def seconds(value)
        seconds = Argument.seconds("the value", value)
        seconds.infinite?&.positive? ? ENDLESS : seconds
      end
    end
  end
end
