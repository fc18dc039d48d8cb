# frozen_string_literal: true

module Bench
  # What the project wants to reach, each a ratio of two that were measured by turns in one run, or a size.
  module Targets
    # key: of Result#pairs. better: :more or :less than the limit.
    Target = Struct.new(:key, :text, :better, :limit, :unit)
    ALL = [
      [:ruby_to_dbos, "4-step chains, Ruby worker, against DBOS Transact (TypeScript), steps/s", :more, 25.0, "×"],
      [:ruby_to_absurd, "4-step chains, Ruby worker, against Absurd, the faster SDK, steps/s", :more, 20.0, "×"],
      [:ruby_to_sidekiq, "1-step tasks, one Ruby process, against Sidekiq's no-op jobs/s", :more, 1.3, "×"],
      [:rust_to_graphile, "1-step tasks, Rust worker, against graphile-worker's no-op jobs/s", :more, 0.9, "×"],
      [:rust_to_floor100, "4-step chains, Rust worker, against the floor, batches of 100", :more, 0.7, "×"],
      [:rust_to_floor500, "4-step chains, Rust worker, against the floor, batches of 500", :more, 0.7, "×"],
      [:ruby_to_rust, "4-step chains, Ruby worker against Rust worker", :more, 0.8, "×"],
      [:chain_to_dbos, "4-step chain, idle, p50 end to end against DBOS direct execution", :less, 0.7, "×"],
      [:start_to_graphile, "submit → handler starts, idle, p50 against graphile-worker's add → start", :less, 1.0, "×"],
      [:grown_to_empty, "throughput with 1,000,000 finished tasks against an empty database", :more, 0.9, "×"],
      [:wal, "WAL a step, 4-step chain, tiny payload", :less, 1_800.0, "B"],
      [:info_to_warn, "4-step chains with log lines at info against warn, steps/s", :more, 0.98, "×"],
      [:backlog_memory, "growth of the orchestrator's memory from 100,000 to 1,000,000 waiting tasks", :less, 5.0, "%"],
      [:memory, "memory of a Ruby worker process with 10 threads", :less, 90.0, "MB"],
      [:memory_growth, "growth of that memory over 1,000,000 steps", :less, 5.0, "%"]
    ].map { |values| Target.new(*values) }.freeze

    module_function

    # @param results [Array<Result>]
    # @param absent [Hash{Symbol => String}] why something could not be measured, by target
    # @return [Array<Hash>] target:, limit:, measured: (the median), rounds:, met: (nil where it was not measured)
    def judge(results, absent = {})
      pairs = results.map(&:pairs).reduce({}, :merge)
      ALL.map do |target|
        rounds = pairs[target.key] || []
        measured = rounds.empty? ? nil : Statistics.median(rounds)
        { target: target.text, key: target.key, limit: limit(target), measured: measured, unit: target.unit,
          rounds: rounds, met: measured && met?(target, measured), absent: absent[target.key] }
      end
    end

    def limit(target)
      format("%s %s %s", target.better == :more ? "≥" : "≤", number(target.limit), target.unit)
    end

    def met?(target, measured)
      target.better == :more ? measured >= target.limit : measured <= target.limit
    end

    def number(value)
      value >= 100 ? value.round.to_s : format("%.4g", value)
    end
  end
end
