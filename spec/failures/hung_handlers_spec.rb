# frozen_string_literal: true

require "spec_helper"

RSpec.describe "a handler that does not end when its time is over" do
  quick = { base: 0.01, cap: 0.01 }
  let(:gate) { Queue.new }
  let!(:log) { logged }

  # Starts what runs the workflows, with little time to end after a timeout.
  def start_strict(**options)
    with_variables("STEPWELL__WORKER__TIMEOUT_GRACE" => "300ms") { start_stepwell(**options) }
  end

  # Runs the block; Rust says of so many attempts that their handlers do not end.
  def expect_hangs(count)
    yield
    line = /ERROR -- : STEP the handler does not end: out of time, told so, and still there.* step=only attempt=\d /
    eventually { log.string.scan(line).size == count }
  end

  def threads
    Thread.list.select { |thread| thread.name == "stepwell worker" && thread.alive? }
  end

  # Defines a step that cannot be told anything before the gate opens.
  def define_deaf(**options)
    gate = self.gate
    define_single("deaf", timeout: 0.1, **options) { |_| Thread.handle_interrupt(Object => :never) { gate.pop } }
  end

  stubborn = lambda do |gate|
    gate.pop
  rescue Exception # rubocop:disable Lint/RescueException -- that is what it does
    retry
  end

  { "rescues every exception" => stubborn,
    "does so in a Fiber" => ->(gate) { Fiber.new { stubborn.call(gate) }.resume } }.each do |what, deed|
    it "kills its thread, when it #{what}, and another takes its place" do
      gate = self.gate
      define_single(timeout: 0.1, max_attempts: 1) { |_| deed.call(gate) }
      define_single("after") { |_| "runs" }
      start_strict(concurrency: 1)
      before = threads
      task = nil
      expect_hangs(1) { task = Stepwell.submit("spec/single").wait(timeout: 30) }

      expect(Stepwell.submit("spec/after").wait(timeout: 30).result(:only)).to eq("runs")
      expect(task.error).to eq("only: the attempt took longer than 0.1 s, and its handler did not end when it was " \
                               "told to")
      expect(task.steps.first.error).to include("kind" => "timeout", "class" => "Timeout::Error")
      eventually { before.none?(&:alive?) && threads.size == 1 }
      killed = /ERROR -- : STEP the handler does not end, its thread is killed task=#{task.id} step=only at=.*rb/
      eventually { log.string.match?(killed) }
      expect(log.string.lines.grep(/WARN|ERROR/).size).to eq(2)
    end
  end

  it "leaves it alone when it cannot be killed: others go on, and what it returns in the end is dropped" do
    define_deaf(max_attempts: 1)
    define_single("after") { |_| "runs" }
    start_strict(concurrency: 1)
    task = nil
    expect_hangs(1) { task = Stepwell.submit("spec/deaf").wait(timeout: 30) }
    expect(Stepwell.submit("spec/after").wait(timeout: 30).result(:only)).to eq("runs")
    expect(gate.num_waiting).to eq(1)
    gate << "too late"
    eventually { threads.size == 1 }

    expect(Stepwell.submit("spec/after").wait(timeout: 30).state).to be(:complete)
    expect(task.refresh).to have_attributes(state: :error, results: {})
    expect(task.steps.first.attempts.map { |it| it["kind"] }).to eq(["timeout"])
  end

  it "is a timeout for the step's policy too" do
    define_deaf(permanent_errors: StandardError, max_attempts: 5)
    start_strict(concurrency: 1)
    task = nil
    expect_hangs(1) { task = Stepwell.submit("spec/deaf").wait(timeout: 30) }
    gate << "too late"
    eventually { threads.size == 1 }

    expect(task.steps.first).to have_attributes(state: :error, attempt: 1)
    expect(task.steps.first.error).to include("kind" => "permanent", "class" => "Timeout::Error")
  end

  it "is killed also after the worker was told to be quiet" do
    gate = self.gate
    define_single(timeout: 0.1, max_attempts: 1) { |_| stubborn.call(gate) }
    worker = with_variables("STEPWELL__WORKER__TIMEOUT_GRACE" => "1s") { start_stepwell(concurrency: 1) }
    expect_hangs(1) do
      task = Stepwell.submit("spec/single")
      eventually { gate.num_waiting == 1 }
      worker.quiet
      expect(task.wait(timeout: 30).state).to be(:error)
      eventually { threads.empty? }
    end
    eventually { log.string.match?(/does not end, its thread is killed/) }
    expect(worker.stop(timeout: 10)).to be(true)
  end

  it "tries again while the first attempt still hangs: the result of the second counts" do
    gate = self.gate
    define_single(timeout: 0.1, backoff: quick) do |step|
      step.attempt == 1 ? Thread.handle_interrupt(Object => :never) { gate.pop } : "second"
    end
    start_strict(concurrency: 1)
    task = nil
    expect_hangs(1) { task = Stepwell.submit("spec/single").wait(timeout: 30) }
    gate << "first"
    eventually { threads.size == 1 }

    expect(task.refresh).to have_attributes(state: :complete, results: { "only" => "second" })
  end

  it "says so when more threads hang than the worker has, and goes on as soon as one has ended" do
    define_deaf(max_attempts: 1)
    define_single("after") { |_| "runs" }
    start_strict(concurrency: 1)
    expect_hangs(2) do
      Stepwell.wait_all(Stepwell.submit_all([{ workflow: "spec/deaf" }] * 2), timeout: 30)
      eventually { log.string.include?("threads hang and cannot be killed: restart this process (kill -9) threads=2") }
    end
    after = Stepwell.submit("spec/after")
    expect { after.wait(timeout: 0.5) }.to raise_error(Stepwell::WaitTimeout)
    2.times { gate << "too late" }

    expect(after.wait(timeout: 30).result(:only)).to eq("runs")
    eventually { threads.size == 1 }
  end

  it "loses its attempt while it holds Ruby's lock, and its place to another thread" do
    worker = run_ruby(<<~RUBY, env: { "DATABASE_URL" => database_url, "STEPWELL__WORKER__TIMEOUT_GRACE" => "300ms" })
      #{Specs::HOLD_THE_LOCK}
      hog = Class.new(Stepwell::StepHandler) do
        define_method(:call) do |_| # shielded, because it is killed as soon as it lets go of the lock
          Thread.handle_interrupt(Object => :never) do
            hold_the_lock(3)
            puts Time.now.to_f
          end
        end
      end
      quick = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| "runs" } }
      Stepwell.workflow("spec/hog") { step :only, hog, timeout: 0.1, max_attempts: 1 }
      Stepwell.workflow("spec/after") { step :only, quick }
      worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 1).start
      puts "started"
      $stdin.read
      puts worker.stop
    RUBY
    expect(worker.gets).to eq("started")
    start_orchestrator
    task = Stepwell.submit("spec/hog").wait(timeout: 30)
    expect(task.steps.first.error).to include("kind" => "timeout", "message" => /its handler did not end when it was/)
    expect(Stepwell.submit("spec/after").wait(timeout: 30).result(:only)).to eq("runs")

    expect(task.finished_at.to_f).to be < Float(worker.gets)
    expect(worker.wait).to be_success
    expect(worker.gets).to eq("true")
    expect(worker.errors.lines).to include(/ERROR STEP the handler does not end/).and(all(include("does not end")))
  end
end
