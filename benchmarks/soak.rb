# frozen_string_literal: true

module Bench
  # A load for a while: an orchestrator, two Ruby workers of ten threads, waves of 500 tasks of four steps. What each
  # process holds in memory, how large the tables grow, and whether the throughput stays.
  module Soak
    SIZES = {
      "tables of tasks and steps" => "pg_table_size('stepwell.tasks') + pg_table_size('stepwell.steps')",
      "their indexes" => "pg_indexes_size('stepwell.tasks') + pg_indexes_size('stepwell.steps')",
      "queues and claims" => "(select sum(pg_total_relation_size(oid)) from pg_class where relkind = 'r' " \
                             "and (relnamespace = 'pgmq'::regnamespace or oid = 'stepwell.claims'::regclass))"
    }.freeze
    # Inserted so far; those of a wave finish within it. Counting rows would take longer and longer.
    STEPS = "(select n_tup_ins from pg_stat_user_tables where relid = 'stepwell.steps'::regclass)"
    GROWTH_OVER = 1_000_000

    module_function

    def run(context)
      result = Result.new("soak", ["after", "steps", "steps/s", "MB: orchestrator", "worker 1", "worker 2",
                                   *SIZES.keys.map { |name| "MB: #{name}" }])
      seconds = context.options[:seconds] || context.pick(600, 5)
      context.on_fresh do |database|
        samples = load(context, database, seconds)
        violations = context.cluster.query("select count(*) from stepwell.check_invariants()", database: database)
        raise "#{violations} invariants are violated" unless violations == "0"

        report(result, samples)
      end
      result
    end

    def load(context, database, seconds)
      processes = start(context, context.cluster.url(database))
      client, *others = processes
      processes.reject { |process| process.role == :orchestrator }.each(&:ready)
      client.tell
      samples = sample(context, database, others, seconds)
      client.tell
      client.answer
      samples
    ensure
      processes&.each(&:stop)
    end

    # The client first, which is the first to stop.
    def start(context, url)
      workers = Array.new(2) { Stepwell.runner("Ruby", url, log: context.log, mode: "serve", roles: "worker") }
      client = Stepwell.runner("Rust", url, log: context.log, kind: "chain", mode: "waves", roles: "client", tasks: 500)
      [client, *workers, Contestant.new(:orchestrator, Stepwell::SERVE, env: Stepwell.env(url), log: context.log)]
    end

    # @return [Array<Hash>] at, steps, memory of each process, sizes of tables; megabytes
    def sample(context, database, processes, seconds)
      started = now
      interval = [seconds / 60.0, 1].max
      samples = []
      until (elapsed = now - started) >= seconds - 0.1
        sleep([interval, seconds - elapsed].min)
        samples << look(context, database, processes, now - started)
        context.say("#{samples.last["at"].round} s: #{samples.last["steps"]} steps")
      end
      samples
    end

    def look(context, database, processes, elapsed)
      sql = "select #{[STEPS, *SIZES.values].join(", ")}"
      steps, *sizes = context.cluster.query(sql, database: database).split("|").map(&:to_i)
      { "at" => elapsed, "steps" => steps, "workers" => processes.first(2).map(&:memory),
        "orchestrator" => processes.last.memory, "sizes" => sizes.map { |bytes| bytes / 1e6 } }
    end

    def report(result, samples)
      result.keep("samples", samples)
      rates = [samples.first, *samples].each_cons(2).map { |one, other| rate(one, other) }
      samples.each_slice([samples.size / 20, 1].max).each do |slice|
        last = slice.last
        result.row("#{last["at"].round} s", last["steps"], rates[samples.index(last)]&.round,
                   *[last["orchestrator"], *last["workers"], *last["sizes"]].map { |size| size.round(1) })
      end
      lines(result, samples, rates)
      targets(result, samples)
    end

    def rate(one, other)
      return if one.equal?(other)

      (other["steps"] - one["steps"]) / (other["at"] - one["at"])
    end

    def lines(result, samples, rates)
      at = samples.map { |each| each["at"] }
      result.line("soak: throughput", "steps/s", { "steps/s" => at.zip(rates).select(&:last) })
      memory = samples.map { |each| [each["orchestrator"], *each["workers"]] }
      result.line("soak: memory", "MB", over_time(at, ["orchestrator", "worker 1", "worker 2"], memory))
      result.line("soak: sizes", "MB", over_time(at, SIZES.keys, samples.map { |each| each["sizes"] }))
    end

    def over_time(at, names, samples)
      names.zip(samples.transpose).to_h { |name, values| [name, at.zip(values)] }
    end

    # Growth from a tenth of the time on, over a million steps; of a shorter soak there is none.
    def targets(result, samples)
      result.pairs[:memory] = samples.map { |each| each["workers"].max }.then { |sizes| [sizes.max] }
      early = samples.find { |each| each["at"] >= samples.last["at"] / 10 }
      late = samples.find { |each| each["steps"] >= early["steps"] + GROWTH_OVER } or return
      growth = late["workers"].zip(early["workers"]).map { |after, before| (after / before * 100) - 100 }
      result.pairs[:memory_growth] = [growth.max]
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
