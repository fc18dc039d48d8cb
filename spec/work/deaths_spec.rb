# frozen_string_literal: true

require "spec_helper"

RSpec.describe "a process of stepwell work that dies" do
  before { define_fleet_workflows }

  recovered = /a worker stopped sending heartbeats, its steps were recovered/
  # Steps that take a while, so that a kill hits some; all attempts are noted.
  chain = <<~RUBY
    link = Class.new(Stepwell::StepHandler) do
      def call(step)
        sleep(0.04)
        step.attempt
      end
    end
    Stepwell.workflow("spec/chain") do
      step :first, link, max_attempts: 20
      step :second, link, depends_on: :first, max_attempts: 20
      step :third, link, depends_on: :second, max_attempts: 20
    end
  RUBY

  def define_chain
    link = Class.new(Stepwell::StepHandler)
    Stepwell.workflow("spec/chain") do
      step :first, link, max_attempts: 20
      step :second, link, depends_on: :first, max_attempts: 20
      step :third, link, depends_on: :second, max_attempts: 20
    end
  end

  it "is replaced, at random and again and again, and nothing is lost" do
    define_chain
    start_orchestrator
    process = start_fleet("-p", 4, "-c", 3, code: chain, env: { "DATABASE_URL" => database_url,
                                                                "STEPWELL__WORKER__LEASE" => "1s" })
    eventual_workers(process, 4)
    random = Random.new(RSpec.configuration.seed)
    killed = []
    expect do
      tasks = Stepwell.submit_all([{ workflow: "spec/chain" }] * 400)
      Array.new(8) { |n| 40 + (40 * n) }.each do |done| # spread over the run
        eventually(60) { psql("select count(*) from stepwell.tasks where state = 'complete'").to_i >= done }
        killed << eventually { working_children(process).sample(random: random) }
        Process.kill("KILL", killed.last)
      end
      Stepwell.wait_all(tasks, timeout: 60)
      expect(tasks.map(&:state).tally).to eq(complete: 400)
    end.to output(recovered).to_stderr_from_any_process
    expect(check_invariants).to be_empty

    expect(eventual_workers(process, 4) & killed).to be_empty
    expect_end(process, "TERM")
    said = process.errors.scan(/process (\d+) was killed by SIGKILL after [\d.]+ s; the next one in/)
    expect(said.flatten.map(&:to_i)).to match_array(killed)
  end

  it "soon after its start, again and again, is replaced ever later" do
    start_orchestrator
    process = start_fleet("-p", 2, "-n", "spec", code: <<~RUBY)
      Stepwell.after_fork do |number|
        if number == 2
          $stdout.write("\#{Process.clock_gettime(Process::CLOCK_MONOTONIC)}\n")
          Process.kill("KILL", Process.pid)
        end
      end
    RUBY
    starts = Array.new(5) { process.gets.to_f }
    gaps = starts.each_cons(2).map { |before, after| after - before }

    # Each wait lies between a half and all of 0.5 s, 1 s, 2 s, 4 s; a process comes and goes in less than a second.
    gaps.zip([0.25, 0.5, 1, 2]) { |gap, least| expect(gap).to be_between(least, (2 * least) + 1) }
    eventually { process.errors.lines.grep(/\[2 of 2\] process \d+ was killed by SIGKILL after 0/).size == 5 }
    expect_end(process, "TERM")
  end

  it "by itself, with a status, is replaced too" do
    start_orchestrator
    process = start_fleet("-p", 2, code: <<~RUBY)
      leave = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| exit!(7) } }
      Stepwell.workflow("spec/leave") { step :only, leave, max_attempts: 1 }
    RUBY
    workers = eventual_workers(process, 2)
    Stepwell.workflow("spec/leave") { step :only, Class.new(Stepwell::StepHandler), max_attempts: 1 }
    Stepwell.submit("spec/leave")
    gone = eventually { (workers - children_of(process.pid)).first }

    expect(eventual_workers(process, 2)).not_to include(gone)
    expect_end(process, "TERM")
    expect(process.errors).to match(/\A.* WORKER fleet: \[\d of 2\] process #{gone} ended with status 7 after .*\n\z/)
  end

  it "by a signal that comes before it listens leaves its supervisor alone" do
    Stepwell::Worker::Signals.trap do |signals|
      Process.wait(fork { Process.kill("TERM", Process.pid) && exit!(0) })
      expect(signals.next(0)).to be_nil
    end
  end

  it "upon a SIGTERM of its own drains, and is replaced" do
    start_orchestrator
    process = start_fleet("-p", 2, "-c", 1)
    workers = eventual_workers(process, 2)
    task = Stepwell.submit("spec/held")
    busy = process.gets.to_i
    Process.kill("TERM", busy)
    eventually { title_of(busy).end_with?("stopping, 1 busy") }
    release(process, 1)

    expect(task.wait(timeout: 20).result(:only)).to eq("done")
    fresh = eventually { (children_of(process.pid) - workers).first }
    eventual_workers(process, 2)
    expect(executed_by(Stepwell.submit_all([{ workflow: "spec/quick" }] * 50))).to include(fresh)
    expect_end(process, "TERM")
    expect(process.errors).to match(/process #{busy} ended with status 0/)
  end

  it "is the supervisor: its children finish what they run, and end" do
    start_orchestrator
    process = start_fleet("-p", 3, "-c", 1)
    workers = eventual_workers(process, 3)
    tasks = Stepwell.submit_all([{ workflow: "spec/held" }] * 3)
    3.times { process.gets }
    waiting = Stepwell.submit("spec/quick")
    process.signal("KILL")
    process.ended
    eventually { workers.all? { |pid| title_of(pid).end_with?("stopping, 1 busy") } }
    release(process, 3)

    Stepwell.wait_all(tasks, timeout: 20)
    eventually { workers.none? { |pid| alive?(pid) } }
    expect(tasks.map { |task| [task.state, task.steps.first.attempt] }).to eq([[:complete, 1]] * 3)
    expect(waiting.refresh.steps.first).to have_attributes(state: :enqueued, attempt: 1)
    expect(psql("select count(*) from stepwell.claims")).to eq("0")
    expect(process.errors.lines).to all(match(/the supervisor has ended, so this process stops/))
  end
end
