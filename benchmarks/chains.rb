# frozen_string_literal: true

# First figures: chains of steps through one Ruby process, with the orchestrator in it.
#   ruby -Iruby/lib benchmarks/chains.rb [--tasks N] [--length STEPS] [--concurrency N] [--samples N] [--idle SECONDS]
# A private PostgreSQL in a temporary folder, with durable settings; DATABASE_URL takes another database instead.

require "optparse"
require "stepwell"
require "tmpdir"

options = { tasks: 10_000, length: 4, concurrency: 10, samples: 300, idle: 10 }
OptionParser.new do |parser|
  options.each_key { |name| parser.on("--#{name} N", Integer) }
end.parse!(into: options)

# Does nothing, as fast as a handler can.
class NoOp < Stepwell::StepHandler
  def call(_step)
    1
  end
end

Stepwell.workflow "bench/chain" do
  options[:length].times { |n| step "step#{n}", NoOp, depends_on: n.zero? ? [] : "step#{n - 1}" }
end

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

def elapsed
  start = now
  yield
  now - start
end

# Seconds of CPU of this process, and of the private PostgreSQL: the postmaster, its children, and, through the
# postmaster, the children that have ended.
def cpu_seconds(folder)
  postmaster = Dir[File.join(folder, "data/postmaster.pid")].map { |path| File.read(path).to_i }.first
  ticks = Dir["/proc/[0-9]*/stat"].sum do |path|
    rest = File.read(path)[/.*\) (.*)/m, 1].split
    next rest[11..14].sum(&:to_i) if File.basename(File.dirname(path)).to_i == postmaster

    rest[1].to_i == postmaster ? rest[11..12].sum(&:to_i) : 0
  rescue SystemCallError
    0
  end
  [Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID), ticks / 100.0]
end

def cpu_used(folder)
  before = cpu_seconds(folder)
  yield
  cpu_seconds(folder).zip(before).map { |now, then_| now - then_ }
end

# What PostgreSQL has counted so far: WAL bytes, commits, rows inserted, updated (of these HOT), deleted.
COUNTS = %i[wal commits inserted updated hot deleted].freeze

def counts(orchestrator)
  sleep 1.1 # sessions tell their counts at most once a second
  sql = "select pg_current_wal_lsn() - '0/0'::pg_lsn, (select xact_commit from pg_stat_database
                 where datname = current_database()), sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_hot_upd), sum(n_tup_del)
           from pg_stat_user_tables"
  row = IO.popen(["psql", "-XAtc", sql, orchestrator.database_url], &:read)
  COUNTS.zip(row.split("|").map { |count| Integer(count) }).to_h
end

def percentile(sorted, share)
  sorted[(sorted.size * share).ceil - 1]
end

Dir.mktmpdir("stepwell-bench") do |folder|
  File.chmod(0o755, folder) # as root the private PostgreSQL runs as another user
  Stepwell.configure do |config|
    config.environment = "production"
    config.embedded_directory = folder
  end
  Stepwell::Orchestrator.embedded do |orchestrator|
    worker = Stepwell::Worker.new(namespaces: "bench", concurrency: options[:concurrency]).start
    Stepwell.submit("bench/chain").wait(timeout: 10)

    latencies = Array.new(options[:samples]) { elapsed { Stepwell.submit("bench/chain").wait(timeout: 10) } }.sort
    printf("chain of %d, idle system: p50 %.1f ms, p95 %.1f ms, p99 %.1f ms (%d samples)\n", options[:length],
           *[0.5, 0.95, 0.99].map { |share| percentile(latencies, share) * 1000 }, latencies.size)

    idle = cpu_used(folder) { sleep options[:idle] }.sum
    printf("idle: %.2f %% of a core (this process and PostgreSQL, over %d s)\n",
           idle / options[:idle] * 100, options[:idle])

    3.times do
      tasks = nil
      seconds = nil
      before = counts(orchestrator)
      cpu = cpu_used(folder) do
        seconds = elapsed do
          tasks = Stepwell.submit_all(Array.new(options[:tasks]) { { workflow: "bench/chain", context: {} } })
          tasks.first.connection.client.wait(tasks.map(&:id), 600.0)
        end
      end
      abort "not all are complete" unless tasks.last(100).all? { |task| task.refresh.state == :complete }
      steps = options[:tasks] * options[:length]
      printf("chains of %d: %d steps/s (%d tasks, submit to last finish, concurrency %d)\n",
             options[:length], steps / seconds, options[:tasks], options[:concurrency])
      each = counts(orchestrator).map { |name, count| (count - before[name]) / steps.to_f }
      printf("  a step: %.0f µs of CPU here, %.0f in PostgreSQL, %.0f bytes of WAL, %.3f commits, rows: " \
             "%.2f inserted, %.2f updated (%.2f HOT), %.2f deleted\n", *cpu.map { |used| used / steps * 1e6 }, *each)
    end

    idle = cpu_used(folder) { sleep options[:idle] }.sum
    printf("idle after it: %.2f %% of a core (this process and PostgreSQL with its vacuum, over %d s)\n",
           idle / options[:idle] * 100, options[:idle])
    worker.stop
  end
end
