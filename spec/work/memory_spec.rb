# frozen_string_literal: true

require "spec_helper"

RSpec.describe "a fleet with --memory-limit" do
  # A step of "spec/leak" keeps 40 MB for ever.
  leaking = <<~RUBY
    LEAKED = []
    leak = Class.new(Stepwell::StepHandler) do
      def call(_step)
        LEAKED << ("x" * (40 * 1024 * 1024))
        Process.pid
      end
    end
    Stepwell.workflow("spec/leak") { step :only, leak, max_attempts: 1 }
  RUBY

  before do
    define_fleet_workflows
    Stepwell.workflow("spec/leak") { step :only, Class.new(Stepwell::StepHandler), max_attempts: 1 }
    start_orchestrator
  end

  def resident(pid)
    File.read("/proc/#{pid}/status")[/VmRSS:\s+(\d+)/, 1].to_i / 1024
  end

  it "replaces a process that has grown, when it has finished what it runs" do
    process = start_fleet("-p", 2, "-c", 2, "-m", "200M", code: leaking, env: { "DATABASE_URL" => database_url,
                                                                                "STEPWELL__LOGGING__LEVEL" => "info" })
    workers = eventual_workers(process, 2)
    held = Stepwell.submit_all([{ workflow: "spec/held" }] * 3)
    busy = Array.new(3) { process.gets.to_i }.tally
    leaker = busy.key(1) # it has a slot left, which takes all of these
    expect(executed_by(Stepwell.submit_all([{ workflow: "spec/leak" }] * 6)).uniq).to eq([leaker])
    expect(resident(leaker)).to be > 240
    eventually { title_of(leaker).end_with?("retiring, 1 busy") }
    expect(children_of(process.pid)).to match_array(workers) # its successor waits
    release(process, 3)
    Stepwell.wait_all(held, timeout: 20)

    eventually { !alive?(leaker) }
    fresh = eventual_workers(process, 2)
    expect(fresh & workers).to eq(workers - [leaker])
    expect(executed_by(Stepwell.submit_all([{ workflow: "spec/quick" }] * 60))).to include(*(fresh - workers))
    expect_end(process, "TERM")
    expect(process.errors).to match(/process #{leaker} holds 2\d\d MB, more than 200 MB: it finishes what it runs/)
    expect(psql("select count(*) from stepwell.step_attempts")).to eq("0")
  end

  it "is kept for one process too, which is then forked" do
    process = start_fleet("-c", 2, "-m", "0.1G", code: leaking)
    first = eventual_workers(process, 1).first
    executed_by(Stepwell.submit_all([{ workflow: "spec/leak" }] * 3))
    eventually { !alive?(first) }

    expect(executed_by(Stepwell.submit_all([{ workflow: "spec/quick" }]))).to eq(eventual_workers(process, 1))
    expect_end(process, "TERM")
  end

  it "kills a process whose steps do not end in time, which counts as their attempt" do
    greedy = <<~RUBY
      greedy = Class.new(Stepwell::StepHandler) do
        def call(step)
          $stdout.write("attempt \#{step.attempt}\\n")
          kept = "x" * (150 * 1024 * 1024)
          $stdin.sysread(5)
          kept.size
        end
      end
      Stepwell.workflow("spec/greedy") { step :only, greedy, max_attempts: 1 }
    RUBY
    Stepwell.workflow("spec/greedy") { step :only, Class.new(Stepwell::StepHandler), max_attempts: 1 }
    process = start_fleet("-p", 2, "-c", 2, "-m", "120M", "-t", "100ms", code: greedy,
                                                                         env: { "DATABASE_URL" => database_url,
                                                                                "STEPWELL__WORKER__LEASE" => "1s" })
    task = Stepwell.submit("spec/greedy")
    expect(process.gets).to eq("attempt 1")
    expect { task.wait(timeout: 30) }
      .to output(/a worker stopped sending heartbeats/).to_stderr_from_any_process

    expect(task.state).to be(:error)
    expect(task.steps.first.error).to include("kind" => "lost_lease")
    expect_end(process, "TERM")
    expect(process.errors.scan(/does not end in time and is killed/).size).to eq(1)
  end

  it "below what the application itself needs is refused" do
    process = start_fleet("-m", "5M")

    expect(process.ended.exitstatus).to eq(1)
    expect(process.errors).to match(/\Astepwell work: the application alone holds \d+ MB when it is loaded/)
  end
end
