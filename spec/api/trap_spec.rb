# frozen_string_literal: true

require "spec_helper"

# A trap can lock no Mutex.
RSpec.describe "in a trap" do
  setup = <<~RUBY
    gate, started = Queue.new, Queue.new
    code = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| started << true && gate.pop } }
    Stepwell.workflow("spec/held") { step :only, code }
    orchestrator = Stepwell::Orchestrator.embedded
    worker = Stepwell::Worker.new(namespaces: "spec").start
    task = Stepwell.submit("spec/held")
    started.pop
  RUBY

  it "a worker and an orchestrator can be stopped, as a script of one's own does" do
    run = run_ruby(<<~RUBY)
      #{setup}
      trap("TERM") do
        gate << "done"
        puts worker.stop(timeout: 20), worker.running?
        puts orchestrator.stop.inspect, orchestrator.running?
        exit
      end
      puts task.id
      sleep
    RUBY
    id = run.gets
    run.signal("TERM")

    expect(Array.new(4) { run.gets }).to eq(%w[true false nil false])
    expect(run.wait).to be_success
    expect(psql("select state from stepwell.tasks where task_id = '#{id}'")).to eq("complete")
  end

  it "a worker can be stopped while its thread waits for a task, and what runs is given back in time" do
    run = run_ruby(<<~RUBY)
      #{setup}
      trap("TERM") do
        puts worker.stop(timeout: 0.1)
        exit
      end
      puts "ready"
      Stepwell.wait_all([task]) { |_| nil }
    RUBY
    expect(run.gets).to eq("ready")
    run.signal("TERM")

    expect(run.gets).to eq("false")
    expect(run.ended).to be_success
    expect(run.errors).to match(/WORKER steps were still running at the end of the grace period/)
    expect(psql("select count(*) from stepwell.claims")).to eq("0")
  end

  it "a worker can be made quiet, and lines can be logged" do
    run = run_ruby(<<~RUBY)
      #{setup}
      trap("USR1") do
        puts worker.quiet.inspect
        Stepwell.logger.warn("it is quiet")
        Stepwell.logging(level: :error)
        Stepwell.logger.warn("not this")
        puts "logged"
      end
      puts "ready"
      $stdin.read
      gate << "done"
      puts task.wait(timeout: 20).result(:only), worker.stop, Stepwell.logger.level
      orchestrator.stop
    RUBY
    expect(run.gets).to eq("ready")
    run.signal("USR1")
    expect([run.gets, run.gets]).to eq(%w[nil logged])
    run.close

    expect([run.gets, run.gets, run.gets]).to eq(%w[done true 3])
    expect(run.wait).to be_success
    expect(run.errors).to match(/\A\S+ +WARN.* TASK +it is quiet\n\z/)
  end

  it "a call that has found no way in time lets the trap return, and goes on" do
    run = run_ruby(<<~RUBY)
      mutex = Mutex.new
      trap("USR1") do
        puts Stepwell::TrapContext.leave(0.05) { mutex.synchronize { puts "through" } }.inspect
      end
      mutex.synchronize do
        Process.kill("USR1", Process.pid)
        $stdin.read
      end
      (Thread.list - [Thread.current]).each(&:join)
    RUBY
    expect(run.gets).to eq("nil")
    run.close
    expect(run.gets).to eq("through")
    expect(run.wait).to be_success
  end
end
