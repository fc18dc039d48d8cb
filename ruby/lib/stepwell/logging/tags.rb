# frozen_string_literal: true

module Stepwell
  module Logging
    # Tags of the lines that a thread logs, as Rails' TaggedLogging has them: a field "tags" of each line. They hold for
    # all of Stepwell's loggers.
    # @api private
    module Tags
      NONE = [].freeze
      private_constant :NONE

      module_function

      # @return [Array<String>] frozen
      def current
        Thread.current.thread_variable_get(:stepwell_tags) || NONE
      end

      # @param tags [Array<String>]
      def set(tags)
        Thread.current.thread_variable_set(:stepwell_tags, tags.empty? ? nil : tags.freeze)
      end

      # A step begins without those that the one before has left.
      def clear
        set(NONE) unless current.empty?
      end

      # @param given [Array] texts, Symbols, lists of them; what is blank is none
      # @return [Array<String>]
      def of(given)
        given.flatten.map { |tag| Failure.text(tag) }.reject { |tag| tag.strip.empty? }
      end
    end
  end
end
