# frozen_string_literal: true

# The same load through one, two and four worker processes, and through one and four orchestrators.
#   ruby -Iruby/lib benchmarks/fleets.rb [--tasks N] [--handler-ms MS]
# Once with handlers that do nothing, where the cores are the limit, and once with handlers that wait, where the workers
# are.

require "optparse"
require_relative "support/fleet"

options = { tasks: 3_000, "handler-ms": 20 }
OptionParser.new { |parser| options.each_key { |name| parser.on("--#{name} N", Integer) } }.parse!(into: options)

SIZES = [[1, 1], [2, 1], [4, 1], [4, 4], [1, 1]].freeze

[0, options[:"handler-ms"]].each do |handler_ms|
  puts "handlers of #{handler_ms} ms, 10 threads a worker, #{options[:tasks]} tasks of 4 steps"
  Fleet.open(handler_ms: handler_ms) do |fleet|
    first = nil
    SIZES.each do |workers, orchestrators|
      fleet.resize(workers: workers, orchestrators: orchestrators)
      rate = options[:tasks] * 4 / fleet.run(options[:tasks])
      first ||= rate
      printf("  %d worker(s), %d orchestrator(s): %6d steps/s, %.2f times the first\n",
             workers, orchestrators, rate, rate / first)
    end
    puts "  deadlocks: #{fleet.query("select deadlocks from pg_stat_database where datname = current_database()")}"
  end
end
