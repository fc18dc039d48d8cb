# frozen_string_literal: true

module Bench
  # What the log lines cost: the same chains with one line a task (info, the default) and with none (warn), in one Ruby
  # process that does all it can.
  module Logging
    LEVELS = %w[warn info].freeze
    TASKS = 5_000
    HEADINGS = ["level", "steps/s", "against warn", "CPU s a 1,000 steps, all processes", "against warn"].freeze

    module_function

    def run(context)
      result = Result.new("logging", HEADINGS)
      measured = context.alternate(LEVELS) { |level| measure(context, level) }
      speeds = measured.transform_values { |rounds| Rates.of(rounds) }
      costs = measured.transform_values { |rounds| cpu(rounds) }
      LEVELS.each do |level|
        result.keep(level, measured.fetch(level))
        result.row(level, Statistics.median(speeds.fetch(level)).round, ratio(speeds, level),
                   Statistics.median(costs.fetch(level)).round(4), ratio(costs, level))
      end
      result.pair(:info_to_warn, *speeds.values_at("info", "warn"))
      result
    end

    def measure(context, level)
      context.measure do |url|
        Stepwell.start(Stepwell::Variant.new("Ruby", 1, false), url,
                       log: context.log, kind: "chain", mode: "through", tasks: context.pick(TASKS, TASKS / 50),
                       env: { "STEPWELL__LOGGING__LEVEL" => level })
      end
    end

    # @return [Array<Float>] of each round
    def cpu(rounds)
      rounds.map { |round| round["cpu"].values.sum.fdiv(round["steps"]) * 1000 }
    end

    def ratio(values, level)
      Statistics.median(values.fetch(level).zip(values.fetch("warn")).map { |one, of| one / of }).round(3)
    end
  end
end
