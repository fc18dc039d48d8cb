# frozen_string_literal: true

require "spec_helper"

RSpec.describe "a lease" do
  short = { "STEPWELL__WORKER__LEASE" => "1s" }

  # A process with a worker that has this handler for the step of "spec/single". A line of input opens its GATE.
  def run_worker(handler, env)
    run_ruby(<<~RUBY, env: { "DATABASE_URL" => database_url, **env })
      GATE = Queue.new
      code = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| #{handler} } }
      Stepwell.workflow("spec/single") { step :only, code }
      worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 1).start
      puts "started"
      GATE << $stdin.gets
      $stdin.read
      puts worker.stop
    RUBY
  end

  it "is lost by a process that stands still, which is told, and whose result does not count" do
    frozen = run_worker(<<~RUBY, short)
      begin
        puts "holding"
        GATE.pop
        step.heartbeat
      rescue Stepwell::LostLease => e
        puts "\#{e.class}: \#{e.message}"
        "too late"
      end
    RUBY
    expect(frozen.gets).to eq("started")
    define_single(&:attempt)
    start_orchestrator
    task = Stepwell.submit("spec/single")
    expect(frozen.gets).to eq("holding")
    frozen.signal("STOP")
    heir = nil
    expect do
      eventually { task.refresh.steps.first.attempt == 2 }
      heir = start_worker
      task.wait(timeout: 30)
    end.to output(/\A.* WARN ORCHESTRATOR a worker stopped sending heartbeats, its steps were recovered.*\n\z/)
      .to_stderr_from_any_process
    frozen.signal("CONT")
    frozen.puts("go on")

    expect(frozen.gets).to eq("Stepwell::LostLease: attempt 1 of step only of task #{task.id} is lost")
    expect(frozen.wait).to be_success
    expect(frozen.errors).to match(/\A.* WARN WORKER the lease on the step was lost, its result does not count.*\n\z/)
    expect(task.refresh).to have_attributes(state: :complete, results: { "only" => 2 })
    expect(task.steps.first).to have_attributes(worker: heir.id, attempts: [include("kind" => "lost_lease")])
  end

  describe "and a heartbeat of its handler" do
    let(:gate) { Queue.new }
    let(:heard) { Queue.new }

    # Submits a task whose handler waits at the gate and then sends a heartbeat; what that raises is heard.
    def submit_single
      gate = self.gate
      heard = self.heard
      define_single do |step|
        gate.pop
        step.heartbeat
      rescue Stepwell::LostLease => e
        heard << [e.class, e.message]
        "too late"
      end
      @orchestrator = start_orchestrator
      @worker = start_worker
      Stepwell.submit("spec/single").tap { eventually { gate.num_waiting == 1 } }
    end

    # Opens the gate. What the handler returns after that is dropped.
    def expect_heard(error, message, task)
      state = task.state
      gate << true
      expect(eventually { heard.size == 1 && heard.pop }).to eq([error, message])
      eventually { @orchestrator.status[:summary][:stale_results] == 1 }
      expect(task.refresh.state).to be(state)
      expect(task.results.values).not_to include("too late")
    end

    it "stores its progress, which is there to be seen" do
      gate = self.gate
      beats = 0
      define_single do |step|
        [{ "done" => 0.5, of: 2**64 }, nil, "nearly"].each do |progress|
          step.heartbeat(progress)
          beats += 1
          gate.pop
        end
      end
      start_stepwell
      task = Stepwell.submit("spec/single")
      seen = Array.new(3) do |before|
        eventually { beats > before }
        task.refresh.steps.first.progress.tap { gate << true }
      end

      expect(seen).to eq([{ "done" => 0.5, "of" => 2**64 }, { "done" => 0.5, "of" => 2**64 }, "nearly"])
      expect(task.wait(timeout: 30).steps.first.progress).to eq("nearly")
    end

    it "raises Cancelled when the task was cancelled" do
      task = submit_single.cancel
      expect_heard(Stepwell::Cancelled, "task #{task.id} was cancelled", task)
    end

    it "raises LostLease when the step was resolved by hand" do
      task = submit_single.resolve(:only, result: 7)
      expect_heard(Stepwell::LostLease, "step only of task #{task.id} has ended without its handler", task)
      expect(task.result(:only)).to eq(7)
    end

    it "raises LostLease when its worker was stopped, and has given the step back" do
      gate = self.gate
      heard = self.heard
      define_single do |step|
        Thread.handle_interrupt(Object => :never) do
          gate.pop
          step.heartbeat
        rescue Stepwell::Error => e
          heard << [e.class, e.message]
        end
      end
      start_orchestrator
      worker = start_worker
      task = Stepwell.submit("spec/single")
      eventually { gate.num_waiting == 1 }
      expect { worker.stop(timeout: 0) }.to output(/given back/).to_stderr_from_any_process
      gate << true

      expect(eventually { heard.size == 1 && heard.pop })
        .to eq([Stepwell::LostLease, "attempt 1 of step only of task #{task.id} is lost"])
    end

    # Reports these as progress.
    # @return [Array<Exception>] what that raised
    def errors_of(*values)
      heard = self.heard
      define_single do |step|
        values.each do |progress|
          step.heartbeat(progress)
        rescue Stepwell::Error => e
          heard << e
        end
      end
      start_stepwell
      expect(Stepwell.submit("spec/single").wait(timeout: 30).steps.first.progress).to be_nil
      Array.new(heard.size) { heard.pop }
    end

    it "refuses a progress that is not JSON" do
      errors = errors_of(Time.now, { "a" => Float::NAN }, "\xFF")
      expect(errors).to all(be_a(Stepwell::ValidationError))
      expect(errors.map(&:message))
        .to match([/\Athe progress is not JSON: a Time/, /NaN at progress\[/, /a String that is not UTF-8/])
    end

    it "refuses a progress that PostgreSQL cannot store" do
      errors = errors_of("a\u0000b", 10**131_073)
      expect(errors.map(&:class)).to eq([Stepwell::ValidationError] * 2)
      expect(errors.map(&:message)).to all(match(/the progress.*cannot be stored as jsonb/))
    end
  end
end
