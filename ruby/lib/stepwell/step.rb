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
  #   @return [FailedAttempt, nil] the last attempt that did not succeed: "kind", "class", "code", "message",
  #     "backtrace",
  #     "causes" (Array of Hashes: "class", "message", "backtrace"; nil without), "context", "metadata", "attempt",
  #     "worker", "started_at", "finished_at" (Time); nil for a step that completed
  # @!attribute [r] attempts
  #   @return [Array<FailedAttempt>] the last 20 attempts that did not succeed, oldest first, each with what {error} has
  # @!attribute [r] progress
  #   @return [Object, nil] what the handler said last in {StepExecution#heartbeat}
  # @!attribute [r] run_at
  #   @return [Time, nil] when the next attempt is due, while the step waits for it
  # @!attribute [r] worker
  #   @return [String, nil] worker of the last attempt: "host:pid:random"
  # @!attribute [r] started_at
  #   @return [Time, nil] when the last attempt started
  # @!attribute [r] finished_at
  #   @return [Time, nil] when the last attempt ended
  Step = Struct.new(:name, :state, :attempt, :max_attempts, :depends_on, :result, :error, :attempts, :progress,
                    :run_at, :worker, :started_at, :finished_at, keyword_init: true) do
    include OneLine

    # @api private
    def self.from_row(row)
      times = %w[run_at started_at finished_at].to_h { |key| [key.to_sym, Stepwell.time(row[key])] }
      new(name: row["name"], state: row["state"].to_sym, attempt: row["attempt"], max_attempts: row["max_attempts"],
          depends_on: row["depends_on"], result: row["result"],
          error: row["error"]&.then { |it| FailedAttempt.from_row(it) },
          attempts: row["attempts"].map { |it| FailedAttempt.from_row(it) }, progress: row["progress"],
          worker: row["worker_id"], **times).freeze
    end

    private

    def summary
      [name, state, "attempt #{attempt}/#{max_attempts}", took(started_at, finished_at), error && error["class"]]
    end
  end

  # @api private
  # @param microseconds [Integer, nil] since 1970
  # @return [Time, nil]
  def self.time(microseconds)
    microseconds && Time.at(0, microseconds, :microsecond)
  end
end
