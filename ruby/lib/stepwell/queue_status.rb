# frozen_string_literal: true

module Stepwell
  # How a namespace is. Of what is queued, ready and keyed 10,000 steps each are counted at most: that many may be more.
  # @!attribute [r] namespace
  #   @return [String]
  # @!attribute [r] queued
  #   @return [Integer] steps that stand in its queue
  # @!attribute [r] oldest_at
  #   @return [Time, nil] when the oldest of them came there
  # @!attribute [r] ready
  #   @return [Integer] steps that wait for a place in the queue
  # @!attribute [r] keyed
  #   @return [Integer] steps that wait for others with the same concurrency key
  # @!attribute [r] in_progress
  #   @return [Integer] steps that workers hold
  # @!attribute [r] paused_at
  #   @return [Time, nil] since when it is paused
  # @!attribute [r] concurrency
  #   @return [Integer, nil] most steps at the same time
  # @!attribute [r] rate
  #   @return [Integer, nil] most steps within rate_period
  # @!attribute [r] rate_period
  #   @return [Float, nil] seconds
  # @!attribute [r] waits_for
  #   @return [String, nil] what the steps that are not in progress wait for; nil when there are none
  # @!attribute [r] database
  #   @return [String] URL of the database that it lives on, without credentials
  QueueStatus = Struct.new(:namespace, :queued, :oldest_at, :ready, :keyed, :in_progress, :paused_at, :concurrency,
                           :rate, :rate_period, :waits_for, :database, keyword_init: true) do
    include OneLine

    # @api private
    # @param json [String] rows of stepwell.queue_status, times in microseconds
    # @return [Array<QueueStatus>]
    def self.parse(json)
      JsonValue.parse(json).map do |row|
        new(**row.transform_keys(&:to_sym), oldest_at: Stepwell.time(row["oldest_at"]),
                                            paused_at: Stepwell.time(row["paused_at"]),
                                            rate_period: row["rate_period"]&.fdiv(1_000_000)).freeze
      end
    end

    private

    def summary
      limits = { concurrency: concurrency, rate: rate && "#{rate}/#{rate_period}s" }.compact
      [namespace, "queued=#{queued} ready=#{ready} keyed=#{keyed} in_progress=#{in_progress}",
       *limits.map { |name, limit| "#{name}=#{limit}" }, paused_at && "paused"]
    end
  end
end
