# frozen_string_literal: true

module Bench
  # Contexts and results of some size, in 4-step chains: each step gets the context and the result of the one before.
  module Payload
    # bytes => tasks
    SIZES = { 100 => 3_000, 10_000 => 1_000, 1_000_000 => 20 }.freeze

    module_function

    def run(context)
      result = Result.new("payload", ["what", "steps/s", "MB/s to handlers and back", "WAL B/step",
                                      "CPU s a 1,000 steps: process", "PostgreSQL", "memory MB"])
      SIZES.each do |bytes, tasks|
        measured = context.alternate(["Ruby, #{bytes} B", "Rust, #{bytes} B"]) do |name|
          context.measure do |url|
            [Stepwell.runner(name[/\w+/], url, log: context.log, kind: "chain", mode: "through", payload: bytes,
                                               tasks: context.pick(tasks, [tasks / 20, 3].max))]
          end
        end
        measured.each { |name, rounds| add(result, name, bytes, rounds) }
      end
      result
    end

    # A chain's handlers get four contexts and three results, and return four results.
    def add(result, name, bytes, rounds)
      rate = Rates.median(rounds)
      result.keep(name, rounds)
      result.row(name, rate.round, (rate / 4 * 11 * bytes / 1e6).round(1), Throughput.wal(rounds).round,
                 Throughput.cpu(rounds, "ruby") || Throughput.cpu(rounds, "rust"), Throughput.cpu(rounds, "postgresql"),
                 Rates.typical(rounds) { |round| round["memory"].values.max }.round(1))
    end
  end
end
