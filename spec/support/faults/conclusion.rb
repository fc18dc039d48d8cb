# frozen_string_literal: true

module Specs
  module Faults
    # The check at the end of every example.
    module Conclusion
      # Ends the processes and proves that nothing was lost, nothing done twice, nothing left.
      # @param again [Integer] most executions that may have been for nothing
      # @param leases [Integer] most attempts that may have ended with the lease, executed or not
      # @param dead_letters [Hash{String => Integer}] how many by queue
      # @param trouble [Integer] most warnings of one process that the database is away
      def conclude(again:, leases: again, trouble: 0, dead_letters: {}, url: database_url)
        history = eventually_settled(url)
        crew.stop
        logs = crew.logs
        report.write(history, bound: again, logs: logs)
        expect_clean(history, dead_letters)
        expect(history.wasted.size).to be <= again
        expect(history.leases_lost).to be <= leases
        logs.each { |program, log| expect_calm(program, log, trouble) }
        expect_few_warnings(history, logs.values)
      end

      private

      # Orphaned claims expire, stale messages are dropped: the last of it may happen after the last task has ended.
      def eventually_settled(url)
        history = History.new(session(url: url), crew)
        eventually(30, "the end of all leftovers") { history.leftovers.empty? }
        history
      end

      def expect_clean(history, dead_letters)
        expect(history.lost).to be_empty
        expect(history.doubled).to be_empty
        expect(history.strays).to be_empty
        expect(history.dead_letters.map(&:first).tally).to eq(dead_letters)
        expect(history.invented).to be_empty
        expect(history.violations).to be_empty
        expect(history.deadlocks).to eq(0)
        expect(history.leftovers).to be_empty
      end

      # A claim that is recovered is one line, and so is a result that is refused: because its lease was lost, or
      # because its report had been committed and only the answer was lost (at most five results, of two workers each).
      def expect_few_warnings(history, logs)
        count = ->(kind) { logs.sum { |log| log.count(kind) } }
        expect(count[:recovered]).to be <= history.leases_lost
        expect(count[:refused]).to be <= history.leases_lost + (report.times.size * 2 * 5)
        expect(count[:buried]).to be <= history.dead_letters.size
      end

      def expect_calm(program, log, trouble)
        expect(log.unknown).to be_empty, "#{program.describe} logged #{log.unknown.first(10).join("\n")}"
        expect(log.count(:trouble)).to be <= trouble
      end
    end
  end
end
