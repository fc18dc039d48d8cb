# frozen_string_literal: true

module Specs
  module Faults
    # What a process has logged: only warnings that the example expects, and not too many.
    class Log
      KNOWN = {
        trouble: /\A\S+ WARN DATABASE trouble, trying again until it is over loop=/,
        recovered: /\A\S+ WARN ORCHESTRATOR a worker stopped sending heartbeats, its steps were recovered /,
        refused: /\A\S+ WARN WORKER the lease on (the step was lost, its result|steps that had not been started was)/,
        given_back: /\A\S+ WARN WORKER steps whose claim was not answered were given back namespaces=/,
        unreturned: /\A\S+ WARN WORKER steps could not be given back/,
        unhandled: /\A\S+ WARN WORKER this worker has no handler for the step, it goes back for another /,
        failed: /\A\S+ WARN TASK finished .* state=error /,
        buried: /\A\S+ WARN QUEUE a message that cannot be handled has gone to the dead letters /
      }.freeze

      # Warnings of trouble of one process for one outage: one, for all its loops and calls.
      TROUBLE_PER_OUTAGE = 1

      # @param text [String]
      # @param known [Array<Symbol>] of KNOWN
      def initialize(text, known)
        @lines = text.lines(chomp: true)
        @known = KNOWN.slice(*known)
      end

      # @return [Array<String>] lines that are none of the expected warnings
      def unknown
        @lines.reject { |line| @known.each_value.any? { |pattern| pattern.match?(line) } }
      end

      # @return [Integer]
      def count(kind)
        @lines.grep(KNOWN.fetch(kind)).size
      end
    end
  end
end
