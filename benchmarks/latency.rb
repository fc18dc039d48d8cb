# frozen_string_literal: true

module Bench
  # One task of four steps at a time, on an idle system; and what the system takes while nothing happens.
  module Latency
    VARIANTS = [["Ruby", 1, false], ["Ruby", 1, true], ["Rust", 1, false], ["Rust", 1, true]]
               .map { |values| Stepwell::Variant.new(*values) }.freeze
    QUICK = [VARIANTS[0], VARIANTS[3]].freeze
    PARTS = { "start" => "submit → first handler starts", "hop" => "handler starts → next one starts",
              "whole" => "submit → wait returns", "wait" => "finished → wait returns" }.freeze

    module_function

    def run(context)
      result = Result.new("latency", ["what", "p50 ms", "p95 ms", "p99 ms", "samples"])
      variants = context.pick(VARIANTS, QUICK).to_h { |variant| [variant.name, variant] }
      measured = context.alternate(variants.keys) { |name| measure(context, variants.fetch(name)) }
      measured.each do |name, rounds|
        result.keep(name, rounds)
        PARTS.each do |part, text|
          summary = Statistics.summary(rounds.flat_map { |round| round[part] })
          result.row("#{name}: #{text}", *summary.values.map { |value| value.round(2) })
        end
      end
      result.chart("4-step chain, idle, p50", "ms", measured.transform_values do |rounds|
        Statistics.median(rounds.flat_map { |round| round["whole"] })
      end)
      idle(context, result)
      result
    end

    def measure(context, variant)
      context.measure do |url|
        Stepwell.start(variant, url, log: context.log, kind: "chain", mode: "latency", tasks: context.pick(100, 20))
      end
    end

    # The processes and PostgreSQL, with its vacuum.
    def idle(context, result)
      seconds = context.pick(20, 1)
      context.on_fresh do |database|
        ours = Stepwell.start(VARIANTS.first, context.cluster.url(database), log: context.log, mode: "serve")
        ours.each(&:ready)
        sleep context.pick(5, 0) # what the start has left to do
        used = -> { ours.sum(&:cpu_seconds) + context.cluster.cpu_seconds }
        before = used.call
        sleep seconds
        share = (used.call - before) / seconds * 100
        result.keep("idle, % of a core", [share])
        result.row("idle, Ruby and PostgreSQL: #{share.round(2)} % of a core", nil, nil, nil, "#{seconds} s")
      ensure
        ours&.each(&:stop)
      end
    end
  end
end
