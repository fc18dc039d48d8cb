# frozen_string_literal: true

# A backlog and no worker: what it costs the orchestrator, and what a dispatch takes however long the backlog is.
#   ruby -Iruby/lib benchmarks/backlog.rb [--tasks N]
# A private PostgreSQL in a temporary folder, with durable settings. The orchestrator is in this process, who submits is
# in another.

require "optparse"
require "stepwell"
require "tmpdir"

options = { tasks: 1_000_000 }
OptionParser.new { |parser| parser.on("--tasks N", Integer) }.parse!(into: options)

SUBMITTER = <<~RUBY
  Stepwell.workflow("bench/single") { step :only, Class.new(Stepwell::StepHandler) }
  requests = Array.new(5_000) { { workflow: "bench/single", context: {} } }
  (Integer(ARGV[0]) / requests.size).times { Stepwell.submit_all(requests) }
RUBY

DISPATCH = <<~SQL
  begin;
  delete from pgmq.q_bench_queue;
  \\timing on
  select dispatched from stepwell.dispatch_steps(500);
  \\timing off
  rollback;
SQL

def resident_megabytes
  File.read("/proc/self/status")[/VmRSS:\s+(\d+)/, 1].to_i / 1024.0
end

# @return [Float] median milliseconds of dispatching 500 steps; each time it is rolled back
def dispatch_milliseconds(url)
  said = IO.popen(["psql", "-XAtq", url], "r+") do |psql|
    psql.write(DISPATCH * 31)
    psql.close_write
    psql.read
  end
  abort "a dispatch did not send 500 steps: #{said}" unless said.scan(/^500$/).size >= 20
  said.scan(/Time: ([\d.]+) ms/).flatten.map(&:to_f).sort[15]
end

# Submits so many tasks more, and returns when all are initialized.
def grow(orchestrator, tasks)
  before = orchestrator.status[:summary][:tasks_started]
  env = { "DATABASE_URL" => orchestrator.database_url, "STEPWELL__LOGGING__LEVEL" => "warn" }
  library = File.expand_path("../ruby/lib", __dir__)
  pid = spawn(env, RbConfig.ruby, "-I", library, "-rstepwell", "-e", SUBMITTER, tasks.to_s)
  started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  memory = []
  until orchestrator.status[:summary][:tasks_started] - before >= tasks
    sleep 1
    memory << resident_megabytes
  end
  Process.wait(pid)
  seconds = Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
  printf("%d tasks more in %.0f s: memory of the orchestrator's process %.1f to %.1f MB\n",
         tasks, seconds, *memory.minmax)
end

Dir.mktmpdir("stepwell-bench") do |folder|
  File.chmod(0o755, folder) # as root the private PostgreSQL runs as another user
  ENV["STEPWELL__DISPATCH__WINDOW"] = "5000" # an empty queue takes a tenth of it at once
  Stepwell.configure do |config|
    config.environment = "production"
    config.embedded_directory = folder
  end
  Stepwell.workflow("bench/single") { step :only, Class.new(Stepwell::StepHandler) }
  Stepwell::Orchestrator.embedded do |orchestrator|
    Stepwell.submit("bench/single")
    times = [10_000, options[:tasks] - 10_000].map do |tasks|
      grow(orchestrator, tasks)
      queue = Stepwell.queues.first
      milliseconds = dispatch_milliseconds(orchestrator.database_url)
      printf("  %d in the queue, %d ready; waits for: %s; a dispatch of 500: %.1f ms\n",
             queue.queued, queue.ready, queue.waits_for, milliseconds)
      milliseconds
    end
    printf("dispatch with %d ready takes %.2f times what it takes with 10000\n",
           options[:tasks], times.last / times.first)
  end
end
