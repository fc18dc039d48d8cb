# frozen_string_literal: true

# What a step that kills its worker costs the steps beside it: 39 tasks of 0.3 s and a deadly one through a worker of 10
# threads that is started anew each time; 3 attempts, lease 1 s. Run: ruby -Iruby/lib benchmarks/poison.rb [together]
# "together" changes recover_claims so that what was lost together comes back together each time.
# Needs a database that it may write to: DATABASE_URL, else .stepwell/ in the working directory.

require "stepwell"

ENV.update("STEPWELL__WORKER__LEASE" => "1s", "STEPWELL__ORCHESTRATOR__CYCLE" => "50ms",
           "STEPWELL__LOGGING__LEVEL" => "error")

WORKER = <<~RUBY
  handler = Class.new(Stepwell::StepHandler) do
    def call(step)
      IO.select(nil, nil, nil, step.context["deadly"] ? 0.1 : 0.3)
      Process.kill("KILL", Process.pid) if step.context["deadly"]
    end
  end
  Stepwell.workflow("poison/one") { step :only, handler, max_attempts: 3 }
  Stepwell::Worker.new(namespaces: ["poison"], concurrency: 10).run
RUBY

def bring_back_together(url)
  function = IO.popen(["psql", "-XAt", url, "-c", "select pg_get_functiondef('stepwell.recover_claims'::regproc)"],
                      &:read)
  changed = function.sub!("p.attempt is not null", "false") or abort "recover_claims has changed: change this too"
  IO.popen(["psql", "-Xq", url], "w") { |psql| psql.write(changed) }
end

Stepwell.workflow("poison/one") { step :only, Class.new(Stepwell::StepHandler), max_attempts: 3 }
Stepwell::Orchestrator.embedded do |orchestrator|
  bring_back_together(orchestrator.database_url) if ARGV == ["together"]
  tasks = Stepwell.submit_all(Array.new(40) { |n| { workflow: "poison/one", context: { deadly: n == 5 } } })
  over = deaths = pid = nil
  supervisor = Thread.new do
    until over
      pid = spawn({ "DATABASE_URL" => orchestrator.database_url }, RbConfig.ruby, "-Iruby/lib", "-rstepwell", "-e",
                  WORKER)
      Process.wait(pid)
      deaths = deaths.to_i + 1 unless over
    end
  end
  Stepwell.wait_all(tasks, timeout: 60)
  over = true
  Process.kill("TERM", pid)
  supervisor.join
  puts "#{tasks.map(&:state).tally}, #{deaths} deaths"
end
