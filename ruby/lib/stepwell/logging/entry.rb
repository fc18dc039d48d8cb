# frozen_string_literal: true

module Stepwell
  module Logging
    # What there is to say: a component, a message and fields.
    # @api private
    class Entry
      # Of what the application logs without saying what it is about.
      COMPONENT = "task"
      # Lines of a backtrace that are worth a field.
      BACKTRACE = 20

      # What a logger was given: an entry, an exception, a Hash of fields with message: among them, or any text.
      # @param given [Object]
      # @param component [String]
      # @return [Entry]
      def self.of(given, component = COMPONENT)
        case given
        when Entry then given
        when Line then given.entry
        when Exception
          new(component, Failure.message(given), { error: given.class, backtrace: backtrace(given) })
        when Hash
          new(component, given[:message] || given["message"], given.reject { |key, _| key.to_s == "message" })
        else new(component, given.is_a?(String) ? given : given.inspect)
        end
      end

      def self.backtrace(error)
        error.backtrace&.first(BACKTRACE)&.join(" < ")
      end
      private_class_method :backtrace

      # @return [String] one of config/components.yml
      attr_reader :component
      # @return [String] UTF-8
      attr_reader :message
      # @return [Hash{String => String, Integer, Float, true, false}]
      attr_reader :fields

      # @param component [String]
      # @param message [Object]
      # @param fields [Hash] those that are nil are left out
      def initialize(component, message, fields = {})
        @component = component
        @message = Failure.text(message)
        @fields = fields.compact.to_h { |key, value| [Failure.text(key), plain(value)] }
      end

      # @param component [String]
      # @param fields [Hash] come first
      # @return [Entry]
      def with(component, fields)
        Entry.new(component, message, fields.merge(self.fields))
      end

      private

      def plain(value)
        case value
        when Integer, Float, true, false then value
        else Failure.text(value)
        end
      end
    end

    # An entry for a logger of the application: a text of component, message and fields, which has its own way with time
    # and level.
    # @api private
    class Line < String
      # @return [Entry]
      attr_reader :entry

      def initialize(entry)
        @entry = entry
        super(Native::Logging.text(entry.component, entry.message, entry.fields))
      end
    end
  end
end
