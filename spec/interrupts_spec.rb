# frozen_string_literal: true

require "spec_helper"

RSpec.describe "interrupting" do
  # An orchestrator, a worker with idle threads, and a task whose only step nobody executes: waits would last for ever.
  setup = <<~RUBY
    code = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| step.context["n"] } }
    Stepwell.workflow("spec/quick") { step :only, code }
    Stepwell.workflow("nobody/never") { step :only, code }
    orchestrator = Stepwell::Orchestrator.embedded
    worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 3).start
    task = Stepwell.submit("nobody/never")
  RUBY

  describe "a process that waits for a task" do
    it "Ctrl-C reaches it as Interrupt, and it goes on in order" do
      process = run_ruby(<<~RUBY)
        #{setup}
        begin
          puts "waiting"
          task.wait
        rescue Interrupt
          puts "interrupted"
        end
        puts Stepwell.submit("spec/quick", { n: 7 }).wait(timeout: 20).result(:only)
        puts worker.stop
        orchestrator.stop
      RUBY
      expect(process.gets).to eq("waiting")
      process.signal("INT")

      expect([process.gets, process.gets, process.gets]).to eq(%w[interrupted 7 true])
      expect(process.wait.exitstatus).to eq(0)
    end

    it "Ctrl-C that nobody rescues stops worker and orchestrator, and ends it" do
      process = run_ruby("#{setup}\nputs 'waiting'\ntask.wait")
      expect(process.gets).to eq("waiting")
      process.signal("INT")

      expect(process.ended.termsig).to eq(Signal.list["INT"])
      expect(process.errors).to include("Interrupt")
      expect(psql("select count(*) from pg_stat_activity where application_name = 'stepwell' " \
                  "and datname = current_database()")).to eq("0")
    end

    it "SIGTERM ends it in order" do
      process = run_ruby("#{setup}\nputs 'waiting'\ntask.wait")
      expect(process.gets).to eq("waiting")
      process.signal("TERM")

      expect(process.wait.termsig).to eq(Signal.list["TERM"])
      expect(process.errors).to match(/\A(|.*SIGTERM.*)\z/m)
    end

    it "signals reach traps, and the wait goes on" do
      process = run_ruby(<<~RUBY)
        #{setup}
        trap("USR1") { $stdout.write("trapped\\n") }
        trap("TERM") { throw :done }
        puts "waiting"
        catch(:done) { task.wait }
        puts task.refresh.state
        worker.stop
        orchestrator.stop
      RUBY
      expect(process.gets).to eq("waiting")
      2.times do
        process.signal("USR1")
        expect(process.gets).to eq("trapped")
      end
      process.signal("TERM")

      expect(process.gets).to eq("in_progress")
      expect(process.wait.exitstatus).to eq(0)
    end
  end

  # Nobody else is there to hear signals: Ruby 3.1 makes a thread for each wait outside its lock.
  describe "a main thread that is alone" do
    alone = <<~RUBY
      Stepwell.workflow("nobody/never") { step :only, Class.new(Stepwell::StepHandler) }
      orchestrator = Stepwell::Orchestrator.embedded
      task = Stepwell.submit("nobody/never")
    RUBY

    it "hears signals at once" do
      process = run_ruby(<<~RUBY)
        #{alone}
        trap("USR1") { $stdout.write("trapped\n") }
        puts Thread.list.size
        begin
          task.wait
        rescue Interrupt
          puts "interrupted"
        end
        orchestrator.stop
      RUBY
      expect(process.gets).to eq("1")
      3.times do
        process.signal("USR1")
        expect(process.gets(5)).to eq("trapped")
      end
      process.signal("INT")

      expect(process.gets(5)).to eq("interrupted")
      expect(process.wait.exitstatus).to eq(0)
    end

    it "leaves nothing behind however long it waits" do
      process = run_ruby(<<~RUBY)
        #{alone}
        GC.start
        GC.disable
        begin
          task.wait(timeout: 3)
        rescue Stepwell::WaitTimeout
          puts ObjectSpace.each_object(Thread).count
        end
        orchestrator.stop
      RUBY

      expect(Integer(process.gets)).to be < 10
      expect(process.wait.exitstatus).to eq(0)
    end
  end

  describe "a process whose worker is idle" do
    { "sleeps" => "sleep", "joins a thread" => "Thread.new { Queue.new.pop }.join",
      "reads" => "$stdin.read" }.each do |what, waiting|
      it "Ctrl-C reaches its main thread that #{what}" do
        process = run_ruby(<<~RUBY)
          #{setup}
          begin
            puts "idle"
            #{waiting}
          rescue Interrupt
            puts "interrupted"
          end
          worker.stop
          orchestrator.stop
        RUBY
        expect(process.gets).to eq("idle")
        process.signal("INT")

        expect(process.gets).to eq("interrupted")
        expect(process.wait.exitstatus).to eq(0)
      end
    end

    it "Ctrl-C in the middle of a step lets the step finish, and stops" do
      process = run_ruby(<<~RUBY)
        #{setup}
        gate = Queue.new
        waits = false
        held = Class.new(Stepwell::StepHandler) do
          define_method(:call) { |_| Thread.pass until waits; puts("held"); gate.pop }
        end
        Stepwell.workflow("spec/held") { step :only, held }
        task = Stepwell.submit("spec/held")
        begin
          waits = true
          task.wait
        rescue Interrupt
          Thread.new { gate << "finished" }
          puts worker.stop(timeout: 20), task.wait(timeout: 20).result(:only)
        end
        orchestrator.stop
      RUBY
      expect(process.gets).to eq("held")
      process.signal("INT")

      expect([process.gets, process.gets]).to eq(%w[true finished])
      expect(process.wait.exitstatus).to eq(0)
    end
  end

  describe "a thread" do
    # A task whose step ends when the gate opens.
    def held_task
      @gate = Queue.new
      gate = @gate
      define_single { |_| gate.pop }
      start_orchestrator
      @worker = start_worker(concurrency: 2)
      Stepwell.submit("spec/single")
    end

    def release(task)
      @gate << "released"
      expect(task.wait(timeout: 20).result(:only)).to eq("released")
    end

    it "Timeout ends its wait, and it can wait again" do
      task = held_task
      3.times { expect { Timeout.timeout(0.05) { task.wait } }.to raise_error(Timeout::Error) }
      release(task)
    end

    it "Thread#kill ends its wait, and its ensure runs" do
      task = held_task
      ensured = false
      waiter = Thread.new do
        task.wait
      ensure
        ensured = true
      end
      eventually { waiter.stop? }
      waiter.kill

      expect(waiter.join(20)).to be(waiter)
      expect(ensured).to be(true)
      release(task)
    end

    it "Thread#raise ends its wait with that exception" do
      task = held_task
      waiter = Thread.new { task.wait }
      waiter.report_on_exception = false
      eventually { waiter.stop? }
      waiter.raise(KeyError, "enough")

      expect { waiter.value }.to raise_error(KeyError, "enough")
      release(task)
    end

    it "Thread#kill ends an idle worker thread, and another takes its place" do
      task = held_task
      eventually { @gate.num_waiting == 1 }
      threads = -> { Thread.list.select { |thread| thread.name == "stepwell worker" && thread.alive? } }
      before = threads.call
      expect(before.size).to eq(2)
      before.each(&:kill)
      before.each { |thread| expect(thread.join(20)).to be(thread) }
      eventually { threads.call.size == 2 }

      expect(threads.call & before).to be_empty
      eventually { @gate.num_waiting == 1 } # the step that a killed thread had, again
      release(task)
      expect(task.steps.first.attempt).to eq(2)
      expect(@worker.stop).to be(true)
    end
  end
end
