# frozen_string_literal: true

module Stepwell
  # A step of a task as it was when it was read.
  # @!attribute [r] name
  #   @return [String]
  # @!attribute [r] state
  #   @return [Symbol] :pending, :ready, :enqueued, :in_progress, :waiting_for_retry, :complete, :error, :cancelled or
  #     :resolved
  # @!attribute [r] attempt
  #   @return [Integer] current or last attempt; 0 before the first
  # @!attribute [r] max_attempts
  #   @return [Integer]
  # @!attribute [r] depends_on
  #   @return [Array<String>] names of the steps it waits for
  # @!attribute [r] result
  #   @return [Object, nil] any JSON
  # @!attribute [r] error
  #   @return [Hash, nil] the last attempt that did not succeed: "kind", "class", "code", "message", "backtrace",
  #     "context", "metadata"; nil for a step that completed
  # @!attribute [r] worker
  #   @return [String, nil] worker of the last attempt: "host:pid:random"
  # @!attribute [r] started_at
  #   @return [Time, nil] when the last attempt started
  # @!attribute [r] finished_at
  #   @return [Time, nil] when the last attempt ended
  Step = Struct.new(:name, :state, :attempt, :max_attempts, :depends_on, :result, :error, :worker, :started_at,
                    :finished_at, keyword_init: true) do
    # @api private
    def self.from_row(row)
      new(name: row["name"], state: row["state"].to_sym, attempt: row["attempt"], max_attempts: row["max_attempts"],
          depends_on: row["depends_on"], result: row["result"], error: row["error"], worker: row["worker_id"],
          started_at: Stepwell.time(row["started_at"]), finished_at: Stepwell.time(row["finished_at"])).freeze
    end
  end

  # @api private
  # @param microseconds [Integer, nil] since 1970
  # @return [Time, nil]
  def self.time(microseconds)
    microseconds && Time.at(0, microseconds, :microsecond)
  end
end
