# frozen_string_literal: true

module Stepwell
  # A message that nobody could use.
  # @!attribute [r] id
  #   @return [Integer]
  # @!attribute [r] queue
  #   @return [String] where it came from: "task_requests", "step_results" or a namespace's queue
  # @!attribute [r] message
  #   @return [Object] any JSON
  # @!attribute [r] reason
  #   @return [String] why nobody could use it
  # @!attribute [r] enqueued_at
  #   @return [Time, nil] when it was sent, where that is known
  # @!attribute [r] buried_at
  #   @return [Time] when it was found to be of no use
  # @!attribute [r] database
  #   @return [String] URL of the database that it is in, without credentials: its id counts there
  DeadLetter = Struct.new(:id, :queue, :message, :reason, :enqueued_at, :buried_at, :database, keyword_init: true) do
    include OneLine

    # @api private
    def self.from_row(row)
      new(**row.transform_keys(&:to_sym), enqueued_at: Stepwell.time(row["enqueued_at"]),
                                          buried_at: Stepwell.time(row["buried_at"])).freeze
    end

    # @api private
    # @return [Array] its place in the list of all databases
    def position
      [id, [(buried_at.to_i * 1_000_000) + buried_at.usec, database]]
    end

    private

    def summary
      [id, queue, moment(buried_at), quoted(reason)]
    end
  end
end
