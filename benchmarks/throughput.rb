# frozen_string_literal: true

module Bench
  # Handlers that do nothing: how many steps a second, and what a step costs whom.
  module Throughput
    VARIANTS = [["Ruby", 1, false], ["Ruby", 2, false], ["Ruby", 1, true], ["Ruby", 2, true], ["Rust", 1, false],
                ["Rust", 1, true]].map { |values| Stepwell::Variant.new(*values) }.freeze
    QUICK = [VARIANTS[3], VARIANTS[4]].freeze
    STEPS = { "chain" => 4, "single" => 1, "fanout" => 102 }.freeze
    TASKS = { "chain" => 5_000, "single" => 20_000, "fanout" => 200 }.freeze
    HEADINGS = ["what", "steps/s", "tasks/s", "CPU s a 1,000 steps: worker", "orchestrator", "PostgreSQL", "WAL B/step",
                "commits/step", "round trips/step", "dead tuples/step", "steps/claim", "steps/apply"].freeze

    module_function

    def run(context)
      result = Result.new("throughput", HEADINGS)
      variants = context.pick(VARIANTS, QUICK).to_h { |variant| [variant.name, variant] }
      TASKS.each do |kind, tasks|
        measured = context.alternate(variants.keys) do |name|
          context.measure do |url|
            Stepwell.start(variants.fetch(name), url, log: context.log, kind: kind, mode: "through",
                                                      tasks: context.pick(tasks, tasks / 50))
          end
        end
        add(result, kind, measured)
      end
      result
    end

    def add(result, kind, measured)
      measured.each do |name, rounds|
        result.keep("#{kind}: #{name}", rounds)
        result.row("#{kind}: #{name}", *cells(kind, rounds))
      end
      result.chart("#{kind}, steps/s", "steps/s", measured.transform_values { |rounds| Rates.median(rounds) })
      return unless kind == "chain"

      ruby, rust = measured.values_at("Ruby, 1 process, embedded", "Rust, 1 process, embedded")
      result.pair(:ruby_to_rust, Rates.of(ruby), Rates.of(rust)) if ruby && rust
      rust && result.pairs[:wal] = rust.map { |round| round["wal"].fdiv(round["steps"]) }
    end

    def cells(kind, rounds)
      rate = Rates.median(rounds)
      per_step = %w[commits round_trips dead].map { |count| Rates.typical(rounds) { |round| round["per_step"][count] } }
      calls = %w[claim_steps apply_results].map { |hop| Rates.typical(rounds) { |round| size(round, hop) } }
      [rate.round, (rate / STEPS.fetch(kind)).round, cpu(rounds, "ruby") || cpu(rounds, "rust"),
       cpu(rounds, "orchestrator"), cpu(rounds, "postgresql"), wal(rounds).round,
       *per_step.map { |count| count.round(3) }, *calls.map { |count| count.round(1) }]
    end

    # @return [Float] bytes a step
    def wal(rounds)
      Rates.typical(rounds) { |round| round["wal"].fdiv(round["steps"]) }
    end

    # @return [Float, nil] CPU seconds of a thousand steps; nil where no process has the role
    def cpu(rounds, role)
      return unless rounds.first["cpu"].key?(role)

      Rates.typical(rounds) { |round| round["cpu"][role].fdiv(round["steps"]) * 1000 }.round(4)
    end

    # Steps of an average call. Calls that found nothing count too.
    def size(round, hop)
      round["all_steps"].fdiv([round["calls"][hop], 1].max)
    end
  end
end
