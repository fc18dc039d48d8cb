# frozen_string_literal: true

module Stepwell
  module Work
    # One of the N places of a fleet: a process, or the time at which the next one comes.
    # @api private
    class Place
      # @return [Integer] from 1
      attr_reader :number
      # @return [Child, nil]
      attr_reader :child
      # @return [Integer] processes that ended before they worked, one after the other
      attr_reader :stillborn

      # @param number [Integer]
      # @param all [Integer] places of the fleet
      def initialize(number, all)
        @number = number
        @all = all
        @due = 0.0
        @backoff = Backoff.new
        @stillborn = 0
      end

      # @return [String] "2 of 4"
      def to_s
        "#{@number} of #{@all}"
      end

      # @return [String] for log lines
      def title
        "[#{self}] #{@child ? "process #{@child.pid}" : "a process"}"
      end

      # @return [Float, nil] seconds until the next process is due; nil when there is one
      def until_due
        @child ? nil : [@due - Work.now, 0].max
      end

      # @param child [Child]
      def take(child)
        @child = child
      end

      # The process has ended, or could not be forked.
      # @return [Float] seconds until the next one
      def leave
        age = @child ? @child.age : 0.0
        @stillborn = @child&.working? ? 0 : @stillborn + 1
        @child&.pipes&.each(&:close)
        @child = nil
        @backoff.after(age).tap { |delay| @due = Work.now + delay }
      end
    end
  end
end
