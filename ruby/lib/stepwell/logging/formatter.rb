# frozen_string_literal: true

module Stepwell
  module Logging
    # Formats lines of a standard Logger in Stepwell's pattern. An application's own logger can have it too:
    # `Rails.logger.formatter = Stepwell::Logging::Formatter.new`.
    # @api public
    class Formatter
      SEVERITIES = { "DEBUG" => 0, "INFO" => 1, "WARN" => 2 }.freeze
      private_constant :SEVERITIES

      # @param severity [String] as Logger calls them
      # @param time [Time]
      # @param progname [String, nil] a component of config/components.yml; nil, or another name, means task
      # @param message [Object] text, an exception, or a Hash of fields with message: among them
      # @return [String] the line, with its newline, secrets masked
      def call(severity, time, progname, message)
        entry = message.is_a?(Line) ? message.entry : message.is_a?(String) && Line.carried(message)
        entry ||= Entry.of(message, self.class.component(progname))
        Native::Logging.line([time.to_i, time.nsec], SEVERITIES.fetch(severity, 3), entry.component, entry.message,
                             entry.fields)
      end

      # @api private
      # @return [String] the component that a progname names
      def self.component(progname)
        return Entry::COMPONENT unless progname

        name = progname.to_s
        @components ||= Native::Logging.components
        @components.include?(name) ? name : Entry::COMPONENT
      end
    end
  end
end
