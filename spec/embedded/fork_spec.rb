# frozen_string_literal: true

require "spec_helper"

RSpec.describe "a fork" do
  setup = <<~RUBY
    code = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| [Process.pid, step.context["n"]] } }
    Stepwell.workflow("spec/pid") { step :only, code }
    orchestrator = Stepwell::Orchestrator.embedded
    worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 2).start
    task = Stepwell.submit("spec/pid", { n: 1 }).wait(timeout: 20)
    def told(what)
      yield
      puts "\#{what}: no error"
    rescue Stepwell::Error => e
      puts "\#{what}: \#{e.class} \#{e.message.sub(/process \\d+/, "process PARENT")}"
    end
  RUBY

  finish = <<~RUBY
    _, status = Process.wait2(child)
    puts status.exitstatus
    puts Stepwell.submit("spec/pid", { n: 2 }).wait(timeout: 20).result(:only) == [Process.pid, 2]
    puts worker.stop
    orchestrator.stop
  RUBY

  def expect_parent_goes_on(process)
    expect([process.gets, process.gets, process.gets]).to eq(%w[0 true true])
    expect(process.wait.exitstatus).to eq(0)
  end

  it "of a running program gets a clear error from what it inherited" do
    process = run_ruby(<<~RUBY)
      #{setup}
      child = fork do
        told("task") { task.refresh }
        told("wait") { task.wait }
        told("submit") { orchestrator.submit("spec/pid") }
        told("status") { orchestrator.status }
        puts [orchestrator.running?, worker.running?, worker.stop, orchestrator.stop].inspect
      end
      #{finish}
    RUBY
    message = "this object belongs to process PARENT and does not survive its fork: make a new one in the child"

    %w[task wait submit status].each { |what| expect(process.gets).to eq("#{what}: Stepwell::Error #{message}") }
    expect(process.gets).to eq("[false, false, true, nil]")
    expect_parent_goes_on(process)
  end

  it "can make its own orchestrator, worker and tasks" do
    process = run_ruby(<<~RUBY)
      #{setup}
      child = fork do
        mine = Stepwell.submit("spec/pid", { n: 3 }) # by the URL of the environment
        puts Stepwell.task(task.id).result(:only) == [Process.ppid, 1]
        puts mine.wait(timeout: 20).result(:only) == [Process.ppid, 3]
        Stepwell::Orchestrator.embedded do |own|
          code = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| Process.pid } }
          Stepwell.workflow("child/pid") { step :only, code }
          own_worker = Stepwell::Worker.new(namespaces: "child", orchestrator: own).start
          puts own.submit("child/pid").wait(timeout: 20).result(:only) == Process.pid
          puts own_worker.stop
        end
      end
      #{finish}
    RUBY

    expect(Array.new(4) { process.gets }).to eq(%w[true] * 4)
    expect_parent_goes_on(process)
  end

  it "may collect what it inherited, and the parent goes on" do
    process = run_ruby(<<~RUBY)
      #{setup}
      clients = Array.new(100) { Stepwell::Native::Client.new(orchestrator.connection.database) }
      child = fork do
        clients = task = orchestrator = worker = nil
        Stepwell.running.clear
        3.times { GC.start }
        puts ObjectSpace.each_object(Stepwell::Native::Client).count
      end
      #{finish}
    RUBY

    expect(process.gets.to_i).to be < 50
    expect_parent_goes_on(process)
  end

  it "of a program with an embedded PostgreSQL leaves the server to its parent" do
    process = run_ruby(<<~RUBY, env: {}, chdir: folder)
      #{setup}
      child = fork { 3.times { GC.start } }
      #{finish}
    RUBY

    expect_parent_goes_on(process)
    expect(server_pid).to be_nil
  end

  it "before anything was started is like any other process" do
    process = run_ruby(<<~RUBY)
      code = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| Process.pid } }
      Stepwell.workflow("spec/pid") { step :only, code }
      Stepwell.configuration.load
      children = Array.new(2) do
        fork do
          Stepwell::Orchestrator.embedded do |own|
            worker = Stepwell::Worker.new(namespaces: "spec").start
            own.submit("spec/pid").wait(timeout: 20)
            worker.stop
          end
        end
      end
      puts children.map { |child| Process.wait2(child).last.exitstatus }.inspect
    RUBY

    expect(process.gets).to eq("[0, 0]")
    expect(process.wait).to be_success
  end
end
