# frozen_string_literal: true

module Bench
  # The SQL functions alone, by batch size: the five of the queues, and those of a worker beside its orchestrator. By
  # turns with them the Rust worker, with batches of at most the same size.
  module Floor
    # batch => [tasks of 1 step, tasks of 4 steps]
    TASKS = { 1 => [300, 100], 10 => [3_000, 1_000], 100 => [10_000, 4_000], 500 => [20_000, 6_000] }.freeze
    CONNECTIONS = [1, 2, 4].freeze
    WAYS = { "queues" => false, "settle" => true }.freeze
    PAIRED = [100, 500].freeze
    HOPS = %w[submit initialize claim report apply settle].freeze

    module_function

    def run(context)
      result = Result.new("floor", ["what", "steps/s", "way", "connections", "WAL B/step",
                                    "PostgreSQL CPU s a 1,000 steps", *HOPS.map { |hop| "#{hop} ms" }])
      TASKS.each do |batch, tasks|
        { "single" => tasks.first, "chain" => tasks.last }.each do |kind, count|
          add(context, result, kind, batch, context.pick(count, [count / 20, 20].max))
        end
      end
      result
    end

    def add(context, result, kind, batch, tasks)
      floors = WAYS.keys.product(context.pick(CONNECTIONS, [2]))
                   .to_h { |way, count| ["#{kind}, batch #{batch}, #{way}, #{count} connections", [way, count]] }
      worker = "#{kind}, batch #{batch}, Rust worker" if kind == "chain" && PAIRED.include?(batch)
      measured = context.alternate([*floors.keys, *worker]) do |name|
        measure(context, kind, batch, tasks, floors[name])
      end
      measured.each { |name, rounds| result.keep(name, rounds) }
      best = floors.keys.max_by { |name| Rates.median(measured[name]) }
      result.row("#{kind}, batch #{batch}", *cells(measured[best], floors[best]))
      compare(result, worker, measured[worker], measured[best], batch) if worker
    end

    def compare(result, worker, rounds, best, batch)
      result.row(worker, *cells(rounds, nil))
      result.pair(:"rust_to_floor#{batch}", Rates.of(rounds), Rates.of(best))
    end

    # @param floor [Array<(String, Integer)>, nil] way and connections; nil for the Rust worker
    def measure(context, kind, batch, tasks, floor)
      context.measure do |url|
        options = { kind: kind, tasks: tasks, log: context.log }
        if floor
          way, connections = floor
          next [Stepwell.floor(url, batch: batch, connections: connections, settle: WAYS.fetch(way), **options)]
        end

        limits = %w[ORCHESTRATOR__REQUEST_BATCH ORCHESTRATOR__RESULT_BATCH WORKER__CLAIM_BATCH WORKER__REPORT_BATCH]
        env = limits.to_h { |name| ["STEPWELL__#{name}", batch.to_s] }
        [Stepwell.runner("Rust", url, mode: "through", env: env, **options)]
      end
    end

    def cells(rounds, floor)
      hops = HOPS.map do |hop|
        Rates.typical(rounds) { |round| round.dig("hops", hop, "mean_ms") }.round(2) if rounds.first["hops"]
      end
      [Rates.median(rounds).round, *(floor || [nil, nil]), Throughput.wal(rounds).round,
       Throughput.cpu(rounds, "postgresql"), *hops]
    end
  end
end
