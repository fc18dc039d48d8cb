# frozen_string_literal: true

module Bench
  # The same work done by others, by turns, each on a database of its own of the same PostgreSQL.
  module Peers
    JOBS = [
      Peer.new("graphile-worker", "graphile.mjs", "graphile-worker", mode: "drain", tasks: 40_000),
      Peer.new("Sidekiq, Redis", "sidekiq.rb", "sidekiq", mode: "drain", tasks: 20_000, needs: ["redis-server"]),
      Peer.new("pg-boss", "pgboss.mjs", "pg-boss", mode: "drain", tasks: 10_000),
      Peer.new("Procrastinate", "procrastinate_jobs.py", "procrastinate", mode: "drain", tasks: 1_000),
      Peer.new("delayed_job", "delayed_job.rb", "delayed_job_active_record", mode: "drain", tasks: 1_000)
    ].freeze
    WORKFLOWS = [
      Peer.new("DBOS, direct", "dbos.mjs", "@dbos-inc/dbos-sdk", mode: "direct", tasks: 500),
      Peer.new("DBOS, queue", "dbos.mjs", "@dbos-inc/dbos-sdk", mode: "queued", tasks: 500),
      Peer.new("Absurd, TypeScript", "absurd.mjs", "absurd-sdk", mode: "through", tasks: 500, needs: ["absurd.sql"]),
      Peer.new("Absurd, Python", "absurd_tasks.py", "absurd_sdk", mode: "through", tasks: 500, needs: ["absurd.sql"])
    ].freeze
    LATENCY = [
      Peer.new("DBOS, direct execution", "dbos.mjs", "@dbos-inc/dbos-sdk", mode: "latency", tasks: 100),
      Peer.new("graphile-worker, add → start", "graphile.mjs", "graphile-worker", mode: "latency", tasks: 100)
    ].freeze
    # Why what could be expected here is not.
    MISSING = { "Que" => "Debian has no package of it" }.freeze
    OURS = { "Stepwell, Ruby" => "Ruby", "Stepwell, Rust" => "Rust" }.freeze

    module_function

    def run(context)
      result = Result.new("peers", ["what", "version", "a second", "p50 ms", "p95 ms", "p99 ms", "PostgreSQL CPU s",
                                    "other CPU s"])
      group(context, result, "1-step jobs, drained", JOBS, kind: "single", mode: "drain", tasks: 40_000)
      # As many as take about as long as those of the others.
      group(context, result, "4-step workflows", WORKFLOWS, kind: "chain", mode: "through", tasks: 15_000)
      group(context, result, "idle", LATENCY, kind: "chain", mode: "latency", tasks: 100)
      MISSING.each { |name, why| result.row("#{name}: absent, #{why}") }
      pair(result)
      result
    end

    def group(context, result, title, peers, **options)
      there, absent = peers.partition { |peer| peer.absent.nil? }
      by_name = there.to_h { |peer| [peer.name, peer] }
      measured = context.alternate([*OURS.keys, *by_name.keys]) do |name|
        by_name.key?(name) ? theirs(context, by_name[name]) : ours(context, OURS.fetch(name), **options)
      end
      mode = options.fetch(:mode)
      measured.each { |name, rounds| add(result, "#{title}: #{name}", by_name[name]&.version, rounds, mode) }
      absent.each { |peer| result.row("#{title}: #{peer.name}: absent, #{peer.absent}") }
      return if mode == "latency"

      result.chart("#{title}, a second", "1/s", measured.transform_values { |rounds| per_second(rounds, mode) })
    end

    def ours(context, language, tasks:, **options)
      tasks = context.pick(tasks, [tasks / 50, 20].max)
      context.measure { |url| [Stepwell.runner(language, url, log: context.log, tasks: tasks, **options)] }
    end

    def theirs(context, peer)
      context.on_fresh(nil) do |database|
        Measurement.new(context.cluster, database).run do
          [peer.start(context.cluster, database, log: context.log, quick: context.quick?)]
        end
      end
    end

    # Jobs, or workflows of four steps.
    def per_second(rounds, mode)
      Rates.median(rounds) / (mode == "drain" ? 1 : 4)
    end

    def add(result, name, version, rounds, mode)
      result.keep(name, rounds)
      return add_latency(result, name, version, rounds) if mode == "latency"

      result.row(name, version, per_second(rounds, mode).round, nil, nil, nil, *cpu(rounds))
    end

    def add_latency(result, name, version, rounds)
      { "start" => "submit → start", "whole" => "whole" }.each do |part, text|
        next unless rounds.first.key?(part)

        summary = Statistics.summary(rounds.flat_map { |round| round[part] })
        result.row("#{name}: #{text}", version, nil, *summary.values.first(3).map do |value|
                                                       value.round(2)
                                                     end, *cpu(rounds))
      end
    end

    # CPU seconds of a thousand steps, samples of latency; of PostgreSQL and of all other processes.
    def cpu(rounds)
      own, others = %w[postgresql others].map do |whose|
        Rates.typical(rounds) do |round|
          if whose == "postgresql"
            round["cpu"][whose]
          else
            round["cpu"].sum do |role, used|
              role == "postgresql" ? 0 : used
            end
          end
        end
      end
      [own.round(2), others.round(2)]
    end

    def pair(result)
      pair_jobs(result, ->(name) { result.data["1-step jobs, drained: #{name}"] })
      pair_workflows(result, ->(name) { result.data["4-step workflows: #{name}"] })
      idle = ->(name) { result.data["idle: #{name}"] }
      delay(result, :chain_to_dbos, "whole", idle["Stepwell, Ruby"], idle["DBOS, direct execution"])
      delay(result, :start_to_graphile, "start", idle["Stepwell, Ruby"], idle["graphile-worker, add → start"])
    end

    def pair_jobs(result, of)
      rate(result, :ruby_to_sidekiq, of["Stepwell, Ruby"], of["Sidekiq, Redis"])
      rate(result, :rust_to_graphile, of["Stepwell, Rust"], of["graphile-worker"])
    end

    def pair_workflows(result, of)
      rate(result, :ruby_to_dbos, of["Stepwell, Ruby"], best(of["DBOS, direct"], of["DBOS, queue"]))
      rate(result, :ruby_to_absurd, of["Stepwell, Ruby"], best(of["Absurd, TypeScript"], of["Absurd, Python"]))
    end

    def best(*candidates)
      candidates.compact.max_by { |rounds| Rates.median(rounds) }
    end

    def rate(result, target, ours, theirs)
      result.pair(target, Rates.of(ours), Rates.of(theirs)) if theirs
    end

    def delay(result, target, part, ours, theirs)
      return unless theirs

      result.pair(target, *[ours, theirs].map { |rounds| rounds.map { |round| Statistics.median(round[part]) } })
    end
  end
end
