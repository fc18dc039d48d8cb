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

      # What a logger was given: an exception, a Hash of fields with message: among them, or any text.
      # @param given [Object] nil: the message stands with the fields
      # @param component [String]
      # @param fields [Hash] come first
      # @return [Entry]
      def self.of(given, component = COMPONENT, fields = {})
        case given
        when Entry then given
        when Line then given.entry
        when Exception
          new(component, Failure.message(given), { **fields, error: given.class, backtrace: backtrace(given) })
        when Hash
          new(component, given[:message] || given["message"],
              { **fields, **given.reject { |key, _| key.to_s == "message" } })
        when nil then new(component, fields.fetch(:message, "nil"), fields.except(:message))
        else new(component, given.is_a?(String) ? given : shown(given), fields)
        end
      end

      def self.backtrace(error)
        lines = Failure.backtrace(error, BACKTRACE)
        lines.join(" < ") unless lines.empty?
      end

      # @return [String] whatever stands in a line, the line is written
      def self.shown(value, as = :inspect)
        Failure.text(value.public_send(as))
      rescue StandardError, ScriptError, SystemStackError => e
        "(cannot be shown: #{e.class})"
      end

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
        @message = message.is_a?(String) ? Failure.text(message) : Entry.shown(message, :to_s)
        @fields = plain(fields)
      end

      # @param tags [Array<String>] come before its own
      # @return [Entry]
      def tagged(tags)
        return self if tags.empty?

        Entry.new(component, message, { **fields, "tags" => [*tags, *fields["tags"]].join(",") })
      end

      private

      def plain(fields)
        fields.each_with_object({}) do |(key, value), all|
          key = Failure.text(key)
          case value
          when nil then next
          when Integer, Float, true, false then all[key] = value
          when String then all[key] = Failure.text(value)
          when Exception
            all[key] = "#{Failure.class_name(value)}: #{Failure.message(value)}"
            all["backtrace"] ||= Entry.backtrace(value) if value.backtrace
          else all[key] = Entry.shown(value, :to_s)
          end
        end
      end
    end

    # An entry for a logger of the application: a text of component, message and fields, which has its own way with time
    # and level.
    # @api private
    class Line < String
      # @return [Entry]
      attr_reader :entry

      # What Rails' TaggedLogging puts before a text.
      TAGS = /\A(?:\[[^\[\]]*\] )*\z/
      private_constant :TAGS

      # @param text [String] what a formatter is given
      # @return [Entry, nil] of the line that this thread is logging, with the tags that stand before its text
      def self.carried(text)
        line = Thread.current.thread_variable_get(:stepwell_line)
        return unless line && text.end_with?(line)

        tags = text[0, text.size - line.size]
        line.entry.tagged(tags.scan(/\[([^\[\]]*)\]/).flatten) if tags.match?(TAGS)
      end

      # Keeps the line at hand for a formatter: a logger in between may make another text of it.
      # @yieldparam line [Line] self
      def carry
        Thread.current.thread_variable_set(:stepwell_line, self)
        yield self
      ensure
        Thread.current.thread_variable_set(:stepwell_line, nil)
      end

      def initialize(entry)
        @entry = entry
        super(Native::Logging.text(entry.component, entry.message, entry.fields))
      end
    end
  end
end
