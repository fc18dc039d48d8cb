# frozen_string_literal: true

module Bench
  # The same load beside what has gathered in the tables: finished tasks, and steps that wait for their turn. The
  # databases stay from round to round.
  module Growth
    FINISHED = [0, 100_000, 1_000_000].freeze
    READY = [10, 10_000, 1_000_000].freeze
    TASKS = 5_000
    # 500 steps come from the backlog into the queue; rolled back each time. An empty queue takes a tenth of its window.
    DISPATCH = <<~SQL
      begin;
      do 'begin perform stepwell.configure_dispatch(5000, interval ''60 s''); end';
      delete from pgmq.q_bench_queue;
      \\timing on
      select dispatched from stepwell.dispatch_steps(500);
      \\timing off
      rollback;
    SQL
    TIMES = 31

    module_function

    def run(context)
      result = Result.new("growth", ["what", "steps/s", "WAL B/step", "memory MB", "against the least",
                                     "a dispatch of 500, ms"])
      finished(context, result)
      ready(context, result)
      result
    end

    def finished(context, result)
      databases = context.pick(FINISHED, [0, 2_000]).to_h do |count|
        ["#{count} finished tasks", database(context) { |name| Filling.finished(context.cluster, name, count) }]
      end
      measured = context.alternate(databases.keys) { |name| load(context, databases[name]) }
      add(result, measured)
      ours = Rates.of(measured.values.last)
      result.pair(:grown_to_empty, ours, Rates.of(measured.values.first)) unless context.quick?
      databases.each_value { |name| context.cluster.drop(name) }
    end

    def ready(context, result)
      databases = context.pick(READY, [10, 2_000]).to_h do |count|
        ["#{count} ready steps", database(context) { |name| Filling.ready(context.cluster, name, count) }]
      end
      dispatches = databases.transform_values { |name| dispatch(context.cluster, name) }
      measured = context.alternate(databases.keys) { |name| load(context, databases[name], priority: "urgent") }
      add(result, measured, dispatches)
      databases.each_value { |name| context.cluster.drop(name) }
    end

    # @yieldparam name [String] of a database that knows the workflows
    def database(context)
      context.cluster.create(template: context.migrated).tap do |name|
        Filling.define(context, name, %w[chain single])
        yield name
      end
    end

    # All steps that finished from the first submit to the last finish: a backlog is worked on too, where the load
    # leaves room.
    def load(context, database, **options)
      tasks = context.pick(TASKS, 100)
      measured = context.measure_on(database) do |url|
        [Stepwell.runner("Ruby", url, log: context.log, kind: "chain", mode: "through", tasks: tasks, **options)]
      end
      begun, seconds = measured.values_at("begun", "seconds")
      sql = "select count(*) from stepwell.steps where finished_at between to_timestamp(#{begun}) " \
            "and to_timestamp(#{begun + seconds})"
      measured.merge("steps" => Integer(context.cluster.query(sql, database: database)))
    end

    # @return [Float, nil] median milliseconds; nil where not so many are ready
    def dispatch(cluster, database)
      said = cluster.query(DISPATCH * TIMES, database: database)
      return unless said.scan(/^500$/).size == TIMES

      Statistics.median(said.scan(/Time: ([\d.]+) ms/).flatten.map(&:to_f))
    end

    def add(result, measured, dispatches = {})
      least = Rates.of(measured.values.first)
      measured.each do |name, rounds|
        result.keep(name, rounds)
        ratios = Rates.of(rounds).zip(least).map { |rate, of| rate / of }
        result.row(name, *cells(rounds), Statistics.median(ratios).round(3), dispatches[name]&.round(2))
      end
      result.chart("beside #{measured.keys.last[/[a-z].*/]}, steps/s", "steps/s",
                   measured.transform_values { |rounds| Rates.median(rounds) })
    end

    def cells(rounds)
      memory = Rates.typical(rounds) { |round| round["memory"].values.max }
      [Rates.median(rounds).round, Throughput.wal(rounds).round, memory.round(1)]
    end
  end
end
