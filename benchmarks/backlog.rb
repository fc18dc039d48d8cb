# frozen_string_literal: true

module Bench
  # A million tasks and no worker: where they wait, what the orchestrator that makes them holds in memory, and what
  # `stepwell queues` says of it.
  module Backlog
    TASKS = 1_000_000
    BATCH = 1_000
    # As fast as PostgreSQL takes them, so that requests too pile up.
    SUBMIT = <<~SQL.freeze
      do $do$ begin
        for n in 1 .. BATCHES loop
          perform from stepwell.submit_tasks(array(
            select '{"workflow": "bench/single", "context": {}}'::jsonb from generate_series(1, #{BATCH})));
          commit;
        end loop;
      end $do$;
    SQL
    COUNTS = { "requests" => "pgmq.q_task_requests", "ready" => "stepwell.ready_steps",
               "queued" => "pgmq.q_bench_queue" }.freeze
    WINDOW = "(select queue_window from stepwell.dispatch_settings)"
    HEADINGS = ["after", "requests that wait", "ready steps", "in the queue", "of at most",
                "MB: orchestrator", "its CPU s a 1,000 tasks"].freeze

    module_function

    def run(context)
      result = Result.new("backlog", HEADINGS)
      tasks = context.pick(TASKS, 2 * BATCH)
      context.on_fresh do |database|
        Filling.define(context, database, %w[single])
        samples, said = fill(context, database, tasks)
        result.keep("samples", samples)
        result.keep("said", said)
        rows(result, samples)
        result.row("`stepwell queues`: #{said["waits_for"]}", nil, *said.values_at("ready", "queued"))
        memory(result, samples, tasks)
      end
      result
    end

    # @return [Array] samples, and what `stepwell queues` says at the end
    def fill(context, database, tasks)
      url = context.cluster.url(database)
      orchestrator = Contestant.new(:orchestrator, Stepwell::SERVE, env: Stepwell.env(url), log: context.log)
      submitting = Thread.new { context.cluster.query(SUBMIT.sub("BATCHES", (tasks / BATCH).to_s), database: database) }
      samples = sample(context, database, orchestrator, tasks)
      submitting.join
      [samples, queues(url)]
    ensure
      orchestrator&.stop
    end

    # Until all tasks are made and their steps wait.
    def sample(context, database, orchestrator, tasks)
      started = now
      samples = []
      until samples.last&.values_at("ready", "queued")&.sum == tasks
        raise "after #{now - started} s #{samples.last}" if now - started > Contestant::TIME_LIMIT

        sleep(context.pick(1, 0.2))
        samples << look(context, database, orchestrator, now - started)
        context.say("#{samples.last["at"].round} s: #{samples.last["ready"]} ready steps")
      end
      samples
    end

    def look(context, database, orchestrator, elapsed)
      counts = COUNTS.values.map { |table| "(select count(*) from #{table})" }
      numbers = context.cluster.query("select #{[*counts, WINDOW].join(", ")}", database: database).split("|")
      sample = [*COUNTS.keys, "window"].zip(numbers.map(&:to_i)).to_h
      raise "the queue is beyond its window: #{sample}" if sample["queued"] > sample["window"]

      sample.merge("at" => elapsed, "memory" => orchestrator.memory, "cpu" => orchestrator.cpu_seconds)
    end

    def queues(url)
      printed, status = Open3.capture2(Stepwell.env(url), *Stepwell::SERVE[0...-1], "queues", "--json")
      raise "stepwell queues failed" unless status.success?

      JSON.parse(printed).find { |queue| queue["namespace"] == "bench" }
    end

    def rows(result, samples)
      samples.each_slice([samples.size / 20, 1].max).map(&:last).each do |sample|
        made = sample.values_at("ready", "queued").sum
        result.row("#{sample["at"].round} s", *sample.values_at("requests", "ready", "queued", "window"),
                   sample["memory"].round(1), (sample["cpu"] / made * 1000).round(4))
      end
    end

    def memory(result, samples, tasks)
      result.line("a backlog: memory of the orchestrator", "MB",
                  { "orchestrator" => samples.map { |each| each.values_at("ready", "memory") } })
      early = samples.find { |each| each["ready"] >= tasks / 10 } || samples.last
      result.pairs[:backlog_memory] = [(samples.map { |each| each["memory"] }.max / early["memory"] * 100) - 100]
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
