# frozen_string_literal: true

module Stepwell
  module Logging
    # The logger of one attempt: each line carries task, step, attempt and correlation id, and goes to Stepwell's
    # logger.
    # @api private
    class StepLogger < FieldLogger
      # @param target [FieldLogger]
      # @param fields [Hash{Symbol => Object}] of each line
      def initialize(target, fields)
        super(nil)
        @target = target
        @fields = fields
        @own = nil
      end

      # @return [Integer] the target's, unless it has been set
      def level
        @own || @target.level
      end

      # Sets the level of this attempt's lines alone.
      def level=(severity)
        @own = super && @level if defined?(@fields) # not by the constructor
      end

      # @see FieldLogger#tagged
      def tagged(*tags)
        block_given? ? @target.tagged(*tags) { yield self } : super
      end

      # @see FieldLogger#push_tags
      def push_tags(*tags)
        @target.push_tags(*tags)
      end

      # @see FieldLogger#pop_tags
      def pop_tags(*count)
        @target.pop_tags(*count)
      end

      # @param entry [Entry]
      def take(severity, entry)
        @target.take(severity, entry)
      end

      private

      def line_fields
        { **@fields, **super }
      end

      def component(_progname)
        "step"
      end
    end
  end
end
