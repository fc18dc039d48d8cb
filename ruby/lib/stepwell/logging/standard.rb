# frozen_string_literal: true

module Stepwell
  module Logging
    # Stepwell's own logger: a standard one whose lines go to standard error by the way that Rust's go, and whose level
    # is Rust's too.
    # @api private
    class Standard < FieldLogger
      LEVELS = %w[debug info warn error error error].freeze

      # Where a Logger writes to.
      class Device
        # @param line [String]
        def write(line)
          Native::Logging.write(Failure.text(line))
        end

        # A process has one standard error.
        def close; end

        def reopen(*); end
      end

      def initialize
        super(Device.new, formatter: Formatter.new)
        @logdev = Device.new # without the lock that Logger puts around it, which no trap can take
        @made = true
      end

      # @return [Integer] of the component that tells most
      def level
        Native::Logging.level
      end

      # Sets the level of all components that have none of their own, in both languages.
      # @raise [ConfigurationError] for what is none
      def level=(severity)
        before = @level
        super
        raise ArgumentError if !@level.is_a?(Integer) || !@level.between?(DEBUG, UNKNOWN)

        Native::Logging.set(LEVELS.fetch(@level), nil, {}) if @made
      rescue ArgumentError
        @level = before
        raise ConfigurationError, "level: #{Argument.shown(severity)} is none of #{LEVELS.uniq.join(", ")}"
      end

      # @param entry [Entry]
      def take(severity, entry)
        # Past the fields and the level, which have been looked at.
        @logdev.write(format_message(format_severity(severity), Time.now, progname, entry))
      end

      private

      def wanted?(severity, component)
        Native::Logging.enabled?(component, severity)
      end
    end
  end
end
