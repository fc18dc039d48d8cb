# frozen_string_literal: true

module Specs
  # Tests that break real processes on a real PostgreSQL. Each exists once; how long it goes on is a setting.
  module Faults
    FULL = ENV["STEPWELL_FAULTS"] == "full"
    # Chooses victims and moments. The schedule of processes is not repeatable, but what was done to them is.
    SEED = Integer(ENV.fetch("STEPWELL_FAULTS_SEED") { Random.new_seed % 100_000 })

    # What every process of a fault example runs with: short leases, so that what a victim held comes back soon, and
    # workers of which is known how much they can hold.
    SETTINGS = { "STEPWELL__WORKER__LEASE" => "2s", "STEPWELL__WORKER__PREFETCH" => "0ms",
                 "STEPWELL__WORKER__REPORT_BATCH" => "5", "CONCURRENCY" => "5" }.freeze
    # Most steps that a worker holds when it dies: one each thread and, claiming nothing ahead, at most as many at hand;
    # and results that were not taken: it stops claiming when four reports of them wait.
    HELD_BY_WORKER = (2 * 5) + (4 * 5)

    module_function

    # @return the one of both that this run asks for
    def sized(short:, full:)
      FULL ? full : short
    end

    # @return [String] seed and size, for people
    def describe
      "faults: #{FULL ? "full" : "short"}, STEPWELL_FAULTS_SEED=#{SEED}"
    end
  end
end
