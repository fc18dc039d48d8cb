# frozen_string_literal: true

require "spec_helper"

RSpec.describe "waiting" do
  # Without wake-ups nothing would happen for a minute: what finishes at all finishes because it was told.
  poll_never = { "STEPWELL__ORCHESTRATOR__POLLING_INTERVAL" => "60s", "STEPWELL__ORCHESTRATOR__CYCLE" => "60s",
                 "STEPWELL__WORKER__POLLING_INTERVAL" => "60s" }

  it "is driven by wake-ups within a process, hop by hop" do
    one = handler { |step| step.results.values.sum + 1 }
    Stepwell.workflow("spec/chain") do
      step :a, one
      step :b, one, depends_on: :a
      step :c, one, depends_on: :b
    end
    with_variables(poll_never) { start_stepwell }
    tasks = Array.new(10) { Stepwell.submit("spec/chain").wait(timeout: 30) }

    expect(tasks.map { |task| task.result(:c) }).to all(eq(3))
  end

  it "is driven by wake-ups between processes" do
    orchestrator = run_ruby(<<~RUBY, env: { "DATABASE_URL" => database_url, **poll_never })
      Stepwell::Orchestrator.embedded { puts "started"; $stdin.read }
    RUBY
    worker = run_ruby(<<~RUBY, env: { "DATABASE_URL" => database_url, **poll_never })
      two = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| step.attempt * 2 } }
      Stepwell.workflow("spec/two") { step :first, two; step :second, two, depends_on: :first }
      worker = Stepwell::Worker.new(namespaces: "spec").start
      puts "started"
      $stdin.read
      worker.stop
    RUBY
    [orchestrator, worker].each { |process| expect(process.gets).to eq("started") }
    Stepwell.configure { |c| c.database_url = database_url }
    tasks = Array.new(5) { Stepwell.submit("spec/two").wait(timeout: 30) }

    expect(tasks.map(&:results)).to all(eq("first" => 2, "second" => 2))
    [worker, orchestrator].each { |process| expect(process.wait).to be_success }
  end

  it "lets the waiter go on before work that comes later is done" do
    gate = Queue.new
    define_single("quick") { |_| "quick" }
    define_single("slow") { |_| gate.pop }
    start_stepwell
    slow = Stepwell.submit("spec/slow")
    quick = Stepwell.submit("spec/quick").wait(timeout: 20)

    expect(quick.state).to be(:complete)
    expect(slow.refresh.state).to be(:in_progress)
    gate << "slow"
    expect(slow.wait(timeout: 20).result(:only)).to eq("slow")
  end

  it "returns at once for a task that has finished, also without time" do
    define_single { |_| 1 }
    start_stepwell
    task = Stepwell.submit("spec/single").wait

    expect(task.wait(timeout: 0)).to be(task)
  end

  it "serves many waiters of one task" do
    gate = Queue.new
    define_single { |_| gate.pop }
    start_stepwell
    id = Stepwell.submit("spec/single").id
    waiters = Array.new(5) { Thread.new { Stepwell.task(id).wait(timeout: 20).state } }
    eventually { waiters.all?(&:stop?) }
    gate << 1

    expect(waiters.map(&:value)).to all(be(:complete))
  end

  it "waits for all of a list and tells how many have finished" do
    gate = Queue.new
    define_single { |step| step.context["n"].zero? ? gate.pop : step.context["n"] }
    start_stepwell
    tasks = Stepwell.submit_all(Array.new(5) { |n| { workflow: "spec/single", context: { n: n } } })
    seen = []
    Stepwell.wait_all(tasks, timeout: 20) do |finished, total|
      seen << [finished, total]
      gate << 0 if finished == 4
    end

    expect(seen).to eq(seen.uniq.sort)
    expect(seen.last).to eq([5, 5])
    expect(tasks.map { |task| task.result(:only) }).to eq([0, 1, 2, 3, 4])
  end

  describe "with a block" do
    # @return [Array<Stepwell::Task>] tasks that nobody executes, in a database that logs its statements
    def logged_tasks
      log_statements
      define_single { |_| 1 }
      start_orchestrator
      Stepwell.submit_all(Array.new(3) { { workflow: "spec/single" } })
              .tap { |tasks| eventually { tasks.none? { |task| task.refresh.state == :pending } } }
    end

    it "asks the database no oftener than without one" do
      tasks = with_variables(poll_never) { logged_tasks }
      timeout = ->(&block) { Stepwell.wait_all(tasks, timeout: 1.25, &block) }
      late = /\Atask #{tasks.first.id} has not finished within 1\.25s: /
      expect { timeout.call }.to raise_error(Stepwell::WaitTimeout, late) # prepares what is prepared once
      without = statements { expect { timeout.call }.to raise_error(Stepwell::WaitTimeout, late) }
      counts = []
      with = statements { expect { timeout.call { |*it| counts << it } }.to raise_error(Stepwell::WaitTimeout, late) }

      expect(counts).to eq([[0, 3]])
      expect(without.size).to be_between(1, 10)
      expect(with.size).to be_between(1, without.size + 2) # a look beside it, at another second
    end

    it "ends with what the block raises, and by what interrupts it" do
      task = logged_tasks.first
      expect { Stepwell.wait_all([task]) { raise "enough" } }.to raise_error("enough")
      expect(Stepwell.wait_all([task]) { break :left }).to be(:left)
      waiting = Thread.new { Stepwell.wait_all([task]) { |_| nil } }
      eventually { waiting.stop? }
      waiting.kill
      expect(waiting.join(5)).to be(waiting)
    end
  end

  describe "that times out" do
    def expect_timeout(task, message)
      expect { task.wait(timeout: 0.05) }
        .to raise_error(Stepwell::WaitTimeout, /\Atask #{task.id} has not finished within 50ms: #{message}\z/)
    end

    it "says that no orchestrator has taken the task" do
      define_single { |_| 1 }
      start_orchestrator.stop
      Stepwell.configure { |c| c.database_url = database_url }

      expect_timeout Stepwell.submit("spec/single"), "waits in the queue for an orchestrator; is one running\\?"
    end

    it "says that no worker has taken the step" do
      define_single { |_| 1 }
      start_orchestrator
      task = Stepwell.submit("spec/single")
      eventually { task.refresh.state == :in_progress }

      expect_timeout task, "1 steps wait for a worker of spec"
    end

    it "says that a step is being executed" do
      gate = Queue.new
      define_single { |_| gate.pop }
      start_stepwell
      task = Stepwell.submit("spec/single")
      eventually { task.refresh.steps.first&.state == :in_progress }

      expect_timeout task, "1 steps are being executed"
      gate << 1
      expect(task.wait(timeout: 20).state).to be(:complete)
    end

    it "says that a retry is due later" do
      define_single(backoff: { base: 3600, cap: 3600, jitter: 0 }) { |_| raise "no" }
      start_stepwell
      task = Stepwell.submit("spec/single")
      eventually { task.refresh.steps.first&.state == :waiting_for_retry }

      expect_timeout task, "waits for a retry at 20\\d\\d-.*"
    end

    it "says it of the first of a list" do
      define_single { |_| 1 }
      start_orchestrator
      tasks = Stepwell.submit_all(Array.new(3) { { workflow: "spec/single" } })
      eventually { tasks.none? { |task| task.refresh.state == :pending } }

      expect { Stepwell.wait_all(tasks, timeout: 0.05) }.to raise_error(Stepwell::WaitTimeout, /#{tasks.first.id}/)
      expect { Stepwell.wait_all(tasks, timeout: 0.05) { |finished, _| expect(finished).to eq(0) } }
        .to raise_error(Stepwell::WaitTimeout, /#{tasks.first.id}.*wait for a worker/)
    end
  end

  it "counts what it has seen finished, though retention removes that meanwhile" do
    Stepwell.configure do |c|
      c.retention.finished = 0.001
      c.retention.cycle = 0.1
    end
    gate = Queue.new
    define_single { |step| step.context["slow"] && gate.pop }
    start_stepwell
    quick, slow = [false, true].map { |it| Stepwell.submit("spec/single", { "slow" => it }) }
    counts = []
    Stepwell.wait_all([quick, slow], timeout: 30) do |finished, _|
      counts << finished
      next unless finished == 1

      eventually { psql("select count(*) from stepwell.tasks where task_id = '#{quick.id}'") == "0" }
      gate << true
    end
    expect(counts.last).to eq(2)
  end
end
