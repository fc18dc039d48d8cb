# frozen_string_literal: true

module Stepwell
  module Logging
    # Stepwell's own logger: a standard one whose lines go to standard error by the way that Rust's go, and whose level
    # is Rust's too.
    # @api private
    class Standard < ::Logger
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
      def level=(severity)
        super
        Native::Logging.set(LEVELS.fetch(@level), nil, {}) if @made
      end

      # @see Logger#add
      def add(severity, message = nil, progname = nil)
        severity ||= UNKNOWN
        return true if severity < level

        if message.nil?
          message = block_given? ? yield : progname
          progname = self.progname unless block_given?
        end
        entry = Entry.of(message, Formatter.component(progname || self.progname))
        Native::Logging.enabled?(entry.component, severity) ? super(severity, entry, progname) : true
      end
      alias log add
    end
  end
end
