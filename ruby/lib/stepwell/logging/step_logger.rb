# frozen_string_literal: true

module Stepwell
  module Logging
    # The logger of one attempt: each line carries task, step, attempt and correlation id, and goes to Stepwell's
    # logger.
    # @api private
    class StepLogger < ::Logger
      # @param target [Logger]
      # @param fields [Hash{Symbol => Object}] of each line
      def initialize(target, fields)
        super(nil)
        @target = target
        @fields = fields
        @own = nil
      end

      # @return [Integer] the target's, unless it has been set
      def level
        @own || Integer(@target.level, exception: false) || DEBUG
      end

      # Sets the level of this attempt's lines alone.
      def level=(severity)
        @own = super && @level if defined?(@fields) # not by the constructor
      end

      # @see Logger#add
      def add(severity, message = nil, progname = nil)
        severity ||= UNKNOWN
        return true if severity < level

        message = block_given? ? yield : progname if message.nil?
        Logging.add(@target, severity, Entry.of(message).with("step", @fields))
        true
      end
      alias log add
    end
  end
end
