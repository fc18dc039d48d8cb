# frozen_string_literal: true

module Bench
  # One, two and four worker processes of ten threads, and one and four orchestrators, all processes of their own. With
  # handlers that do nothing the cores are the limit; with handlers that wait the workers are.
  module Fleets
    # workers and orchestrators
    SIZES = [[1, 1], [2, 1], [4, 1], [4, 4]].freeze
    # milliseconds that a handler waits => tasks: enough that the first calls of each session, which are planned, count
    # for little.
    PAUSES = { 0 => 20_000, 20 => 1_000 }.freeze

    module_function

    def run(context)
      result = Result.new("fleets", ["what", "steps/s", "against one of each", "deadlocks"])
      PAUSES.each do |pause, tasks|
        sizes = context.pick(SIZES, [SIZES.first, SIZES.last]).to_h do |size|
          ["handlers of #{pause} ms, workers × orchestrators: #{size.join(" × ")}", size]
        end
        measured = context.alternate(sizes.keys) do |name|
          measure(context, *sizes.fetch(name), pause, context.pick(tasks, 50))
        end
        add(result, measured)
      end
      result
    end

    def measure(context, workers, orchestrators, pause, tasks)
      context.on_fresh do |database|
        measured = context.measure_on(database) do |url|
          start(context, url, workers, orchestrators, pause: pause, tasks: tasks)
        end
        sql = "select deadlocks from pg_stat_database where datname = current_database()"
        measured.merge("deadlocks" => Integer(context.cluster.query(sql, database: database)))
      end
    end

    def start(context, url, workers, orchestrators, pause:, tasks:)
      serving = Array.new(orchestrators) do
        Contestant.new(:orchestrator, Stepwell::SERVE, env: Stepwell.env(url), log: context.log)
      end
      working = Array.new(workers) do
        Stepwell.runner("Ruby", url, log: context.log, mode: "serve", roles: "worker", pause: pause)
      end
      client = Stepwell.runner("Rust", url, log: context.log, mode: "through", roles: "client", tasks: tasks)
      [client, *working, *serving]
    end

    def add(result, measured)
      one = Rates.of(measured.values.first)
      measured.each do |name, rounds|
        result.keep(name, rounds)
        ratios = Rates.of(rounds).zip(one).map { |rate, of| rate / of }
        result.row(name, Rates.median(rounds).round, Statistics.median(ratios).round(2),
                   rounds.sum { |round| round["deadlocks"] })
      end
    end
  end
end
