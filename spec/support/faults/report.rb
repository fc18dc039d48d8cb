# frozen_string_literal: true

module Specs
  module Faults
    # One row of the fault table: a line of JSON in the file that STEPWELL_FAULT_TABLE names.
    class Report
      attr_reader :times

      def initialize(title)
        @title = title
        @times = []
        @lasting = 0
        @figures = {}
      end

      # Notes that a fault has just been injected.
      def fault
        @times << Time.now
      end

      # Faults that are there all the time: there is nothing to recover from.
      def lasting_fault(number = 1)
        @lasting += number
      end

      # @param figures [Hash] what else was measured
      def note(**figures)
        @figures.update(figures)
      end

      # @param history [History]
      # @param bound [Integer] most executions that may have been for nothing
      # @param logs [Hash{Program => Log}]
      def write(history, bound:, logs:)
        row = { case: @title, size: FULL ? "full" : "short", seed: SEED, faults: times.size + @lasting,
                tasks: history.tasks, lost: history.lost.size, doubled: history.doubled.size,
                again: history.wasted.size, bound: bound,
                leases: history.leases_lost, recovery: history.recovery(times)&.round(2),
                warnings: logs.each_value.sum { |log| log.count(:trouble) }, figures: @figures }
        path = ENV.fetch("STEPWELL_FAULT_TABLE", "")
        File.write(path, "#{JSON.generate(row)}\n", mode: "a") unless path.empty?
      end
    end
  end
end
