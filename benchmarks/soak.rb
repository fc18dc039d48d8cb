# frozen_string_literal: true

# A constant load for a while: the memory of each process, the throughput, the size of the queues' tables.
#   ruby -Iruby/lib benchmarks/soak.rb [--seconds N]
# One orchestrator, two workers of 10 threads, waves of 500 tasks of four steps. Prints a line every 30 s; memory is
# compared with what it was after a tenth of the time.

require "optparse"
require_relative "support/fleet"

options = { seconds: 600 }
OptionParser.new { |parser| parser.on("--seconds N", Integer) }.parse!(into: options)

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

QUEUES = "select pg_size_pretty(sum(pg_total_relation_size(c.oid))) from pg_class c " \
         "where c.relnamespace = 'pgmq'::regnamespace and c.relkind = 'r'"

Fleet.open do |fleet|
  fleet.resize(workers: 2)
  started = now
  shown = started
  steps = total = 0
  early = nil
  while now - started < options[:seconds]
    fleet.run(500)
    steps += 2_000
    early = fleet.memory if early.nil? && now - started > options[:seconds] / 10.0
    next if now - shown < 30

    printf("%4d s: %6d steps/s, queues %s, MB: %s\n", now - started, steps / (now - shown), fleet.query(QUEUES),
           fleet.memory.map { |name, size| format("%s %.1f", name, size) }.join(", "))
    shown = now
    total += steps
    steps = 0
  end
  late = fleet.memory
  late.each { |name, size| printf("%s: %.1f MB, %+.1f %%\n", name, size, (size / early.fetch(name) * 100) - 100) }
  puts "#{total + steps} steps; violations: #{fleet.query("select count(*) from stepwell.check_invariants()")}"
end
