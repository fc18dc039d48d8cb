# frozen_string_literal: true

require "spec_helper"

RSpec.describe "a fleet that is told to stop" do
  before do
    define_fleet_workflows
    start_orchestrator
  end

  # @return [Array<Stepwell::Task>] which the fleet executes
  def submit_held(process, number)
    Stepwell.submit_all([{ workflow: "spec/held" }] * number).tap { number.times { process.gets } }
  end

  def expect_clean_database
    expect(psql("select count(*) from stepwell.claims")).to eq("0")
    expect(psql("select count(*) from stepwell.step_attempts")).to eq("0")
  end

  { "SIGTERM" => %w[TERM], "SIGINT" => %w[INT], "both, twice" => %w[TERM INT TERM INT] }.each do |what, signals|
    it "upon #{what} finishes what runs, claims nothing more, and ends with 0" do
      process = start_fleet("-p", 3, "-c", 2)
      workers = eventual_workers(process, 3)
      tasks = submit_held(process, 6)
      signals.each { |name| process.signal(name) }
      eventually { workers.all? { |pid| title_of(pid).end_with?("stopping, 2 busy") } }
      waiting = Stepwell.submit_all([{ workflow: "spec/quick" }] * 5)
      release(process, 6)

      expect(process.ended.exitstatus).to eq(0)
      expect(Stepwell.wait_all(tasks, timeout: 20).map { |task| task.result(:only) }).to eq(["done"] * 6)
      expect(waiting.map { |task| task.refresh.steps.first.state }.uniq).to eq([:enqueued])
      expect_clean_database
    end
  end

  it "by Ctrl-C, which every process of it hears, stops just once" do
    process = start_fleet("-p", 2, "-c", 1, through: %w[setsid])
    eventual_workers(process, 2)
    tasks = submit_held(process, 2)
    Process.kill("INT", -process.pid)
    release(process, 2)

    expect(process.ended.exitstatus).to eq(0)
    expect(Stepwell.wait_all(tasks, timeout: 20).map { |task| task.result(:only) }).to eq(["done"] * 2)
    expect_clean_database
  end

  it "gives back what does not finish in time, the attempt not counted" do
    process = start_fleet("-p", 2, "-c", 1, "--timeout", "300ms")
    eventual_workers(process, 2)
    tasks = submit_held(process, 2)

    expect_end(process, "TERM")
    expect(process.errors.lines).to all(match(/steps were still running at the end of the grace period; given back/))
    expect(tasks.map { |task| task.refresh.steps.first }).to all(have_attributes(state: :enqueued, attempt: 1))
    expect_clean_database
  end

  it "kills what does not even do that, and ends with 1" do
    process = start_fleet("-p", 2, "-c", 1, "--timeout", "0.2", code: <<~RUBY)
      #{Specs::HOLD_THE_LOCK}
      hog = Class.new(Stepwell::StepHandler) do
        def call(_step)
          $stdout.write("\#{Process.pid} hogs\\n")
          hold_the_lock(60)
        end
      end
      Stepwell.workflow("spec/hog") { step :only, hog, max_attempts: 1 }
    RUBY
    eventual_workers(process, 2)
    Stepwell.workflow("spec/hog") { step :only, Class.new(Stepwell::StepHandler), max_attempts: 1 }
    Stepwell.submit("spec/hog")
    hog = process.gets.to_i

    expect_end(process, "TERM", status: 1)
    expect(process.errors.lines.first).to match(/ERROR WORKER fleet: \[\d of 2\] process #{hog} does not end in time/)
    expect(alive?(hog)).to be(false)
  end

  %w[QUIT TSTP].each do |name|
    it "to be quiet, by SIG#{name}, claims nothing more, replaces nothing, and stays until SIGTERM" do
      process = start_fleet("-p", 2, "-c", 1)
      first, second = eventual_workers(process, 2)
      tasks = submit_held(process, 2)
      process.signal(name)
      eventually { [first, second].all? { |pid| title_of(pid).end_with?("quiet, 1 busy") } }
      release(process, 2)
      Stepwell.wait_all(tasks, timeout: 20)
      waiting = Stepwell.submit("spec/quick")
      Process.kill("TERM", first)
      eventually { children_of(process.pid) == [second] }

      expect { waiting.wait(timeout: 1) }.to raise_error(Stepwell::WaitTimeout)
      expect(children_of(process.pid)).to eq([second])
      expect_end(process, "TERM")
      expect(process.errors.lines.size).to eq(1)
      expect_clean_database
    end
  end

  it "and is one process does the same" do
    process = start_fleet("-c", 3, "--timeout", "5")
    tasks = submit_held(process, 3)
    eventually { title_of(process.pid) == "stepwell work spec: 3 busy" }
    process.signal("QUIT")
    eventually { title_of(process.pid) == "stepwell work spec: quiet, 3 busy" }
    waiting = Stepwell.submit("spec/quick")
    process.signal("TERM")
    eventually { title_of(process.pid) == "stepwell work spec: stopping, 3 busy" }
    release(process, 2)

    expect(process.ended.exitstatus).to eq(0)
    expect(process.errors).to match(/given back steps=1/)
    eventually { tasks.count { |task| task.refresh.state == :complete } == 2 }
    expect([waiting, *tasks].map { |task| task.refresh.steps.first.state }.tally).to eq(enqueued: 2, complete: 2)
    expect_clean_database
  end

  it "while it starts stops as well" do
    process = start_fleet("-p", 2, code: 'Stepwell.after_fork { $stdout.write("forked\n"); $stdin.sysread(5) }')
    expect(process.gets).to eq("forked")
    process.signal("TERM")
    release(process, 1)

    expect(process.ended.exitstatus).to eq(0)
    expect(process.gets).to be_nil # no second process
  end
end
