# frozen_string_literal: true

require "spec_helper"
require "stepwell/work"

RSpec.describe "a worker's process that gets signals" do
  # What somebody may send without meaning that it ends.
  odd = %w[USR1 USR2 ALRM TTOU PIPE WINCH CONT TTIN]

  before do
    define_fleet_workflows
    start_orchestrator
  end

  def works?(number = 2)
    tasks = Stepwell.submit_all([{ workflow: "spec/quick" }] * number)
    executed_by(tasks).size == number
  end

  def state_of(pid)
    File.read("/proc/#{pid}/stat")[/\) (\w) /, 1]
  end

  it "as a fleet is neither stopped nor ended by those that mean nothing, nor are its children" do
    process = start_fleet("-p", 2, "-c", 1)
    workers = eventual_workers(process, 2)
    [process.pid, *workers].product(odd).each { |pid, name| Process.kill(name, pid) }

    expect(works?).to be(true)
    expect(eventual_workers(process, 2)).to eq(workers)
    expect([process.pid, *workers].map { |pid| state_of(pid) }).to all(match(/[SR]/))
    expect_end(process, "TERM")
    expect(process.errors.lines).to all(include("WARN WORKER a thread"))
  end

  it "as one process is neither stopped nor ended by them" do
    process = start_fleet("-c", 1)
    eventually { title_of(process.pid).end_with?("0 busy") }
    odd.each { |name| process.signal(name) }

    expect(works?).to be(true)
    expect_end(process, "TERM")
    expect(process.errors.lines).to all(include("WARN WORKER a thread"))
  end

  %w[HUP PWR].each do |name|
    it "stops upon #{name} as upon TERM", if: Signal.list.key?(name) do
      fleet = start_fleet("-p", 2, "-c", 1)
      eventual_workers(fleet, 2)
      task = Stepwell.submit("spec/held").tap { fleet.gets }
      fleet.signal(name)
      eventually { children_of(fleet.pid).any? { |pid| title_of(pid).include?("stopping") } }
      release(fleet, 1)

      expect(fleet.ended.exitstatus).to eq(0)
      expect(task.wait(timeout: 20).result(:only)).to eq("done")
    end
  end

  it "does not hear HUP under nohup" do
    process = start_fleet("-c", 1, through: %w[nohup])
    eventually { title_of(process.pid).end_with?("0 busy") }
    process.signal("HUP")

    expect(works?).to be(true)
    expect_end(process, "TERM")
  end

  it "leaves to the application what it traps itself" do
    process = start_fleet("-c", 1, code: 'trap("USR1") { $stdout.write("rotated\n") }')
    eventually { title_of(process.pid).end_with?("0 busy") }
    process.signal("USR1")

    expect(process.gets).to eq("rotated")
    expect_end(process, "TERM")
  end

  [1, 2].each do |number|
    it "logs upon TTIN what each thread executes, for how long and where (#{number} processes)" do
      process = start_fleet("-p", number, "-c", 2)
      eventually { [process.pid, *children_of(process.pid)].any? { |pid| title_of(pid).match?(/: 0 busy\z/) } }
      task = Stepwell.submit("spec/held").tap { process.gets }
      process.signal("TTIN")

      busy = /WARN WORKER a thread thread="stepwell worker" .*task=#{task.id} step=only attempt=1 ms=\d+ at=.*app.rb/
      eventually { process.errors.match?(busy) }
      expect(process.errors).to match(/ a thread thread=main state=\w+ at=/)
      release(process, 1)
      expect(task.wait(timeout: 20).result(:only)).to eq("done")
      expect_end(process, "TERM")
    end
  end

  it "hears the same in Worker#run" do
    process = run_ruby(<<~RUBY)
      code = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| Process.pid } }
      Stepwell.workflow("spec/quick") { step :only, code, max_attempts: 1 }
      worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 1).start
      Thread.new { sleep 0.01 until worker.busy.zero?; puts "works" }
      puts worker.run
    RUBY
    expect(process.gets).to eq("works")
    expect(works?).to be(true)
    odd.each { |name| process.signal(name) }
    eventually { process.errors.include?("a thread") }
    expect(works?).to be(true)
    process.signal("HUP")

    expect(process.gets).to eq("true")
    expect(process.ended.exitstatus).to eq(0)
  end
end
