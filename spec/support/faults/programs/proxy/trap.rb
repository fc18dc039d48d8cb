# frozen_string_literal: true

# Waits for a statement whose answer is to be lost: the second that does something, so that there is a success between
# two losses and nobody takes them for one long outage.
class Trap
  # These are called all the time and mostly find nothing; the first column of their only row says how much they did.
  COUNTED = %w[initialize_tasks apply_results].freeze

  def initialize
    @mutex = Mutex.new
  end

  # @param function [String] of the schema stepwell
  # @yield when the answer has been lost
  def arm(function, &sprung)
    @mutex.synchronize do
      @function = function
      @sprung = sprung
      @passed = false
    end
  end

  # Whether this statement is the one; then nobody else's is, until {#release} or {#spring}.
  # @param sql [String]
  def catch?(sql)
    @mutex.synchronize do
      return false unless @function && !@caught && sql.include?("stepwell.#{@function}(")

      @caught = true
    end
  end

  # @param answer [Array<String>] messages up to ReadyForQuery
  # @return [Boolean] whether it is the one to lose
  def worthwhile?(answer)
    return false unless did_something?(answer)

    @passed.tap { @passed = true }
  end

  # The statement was not the one after all.
  def release
    @mutex.synchronize { @caught = false }
  end

  # It was.
  def spring
    @mutex.synchronize do
      @function = nil
      @caught = false
      @sprung
    end.call
  end

  private

  # Whether an answer says that something was done and committed.
  def did_something?(answer)
    rows = answer.select { |message| message.start_with?("D") }
    return false if rows.empty? || answer.any? { |message| message.start_with?("E") } || !idle?(answer.last)

    !COUNTED.include?(@function) || counted(rows.first).positive?
  end

  # ReadyForQuery of a session that is in no transaction: what the statement did is committed.
  def idle?(ready)
    ready.byteslice(5) == "I"
  end

  # DataRow: columns (2 bytes), length of the first (4), the first: an integer in binary.
  def counted(row)
    row.byteslice(11, 4).unpack1("l>")
  end
end
