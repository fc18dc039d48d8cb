# frozen_string_literal: true

require "spec_helper"

RSpec.describe "cancelling and retrying" do
  # @return [Array<Array>] kind, actor and reason of each of its events
  def events(task)
    task.events.map { |event| [event.kind, event.actor, event.reason] }
  end

  describe "cancel" do
    it "stops a task that is under way, and wakes who waits for it" do
      gate = Queue.new
      held = handler { |_| gate.pop }
      Stepwell.workflow("spec/held") do
        step :first, held
        step :second, held, depends_on: :first
      end
      orchestrator = start_orchestrator
      worker = start_worker(concurrency: 1)
      task = Stepwell.submit("spec/held")
      eventually { task.refresh.steps.first&.state == :in_progress }
      waiter = Thread.new { Stepwell.task(task.id).wait(timeout: 20).state }
      eventually { waiter.stop? }
      task.cancel(reason: "the customer called", actor: "anna")

      expect(waiter.value).to be(:cancelled)
      expect(task.steps.map(&:state)).to eq(%i[cancelled cancelled])
      expect(events(task)).to eq([[:cancel, "anna", "the customer called"]])
      gate << "too late"
      expect(worker.stop).to be(true)
      eventually { orchestrator.status[:summary][:stale_results] == 1 }
      expect(task.refresh).to have_attributes(state: :cancelled, results: {})
    end

    it "cancels a task still in the queue, with no orchestrator running" do
      define_single { |_| 1 }
      start_orchestrator.stop
      Stepwell.configure { |c| c.database_url = database_url }
      kept, task = Array.new(2) { Stepwell.submit("spec/single") }
      expect(task.cancel(reason: "never mind").state).to be(:cancelled)
      expect(task.wait(timeout: 0)).to have_attributes(state: :cancelled, results: {})
      expect(events(task)).to eq([[:cancel, "stepwell", "never mind"]])

      start_stepwell
      expect(kept.wait(timeout: 20).state).to be(:complete)
      expect(task.refresh.state).to be(:cancelled)
      expect(Specs::Steps.executed.map(&:first)).to eq([kept.id])
    end

    it "leaves a task that has finished as it is" do
      define_single { |_| 1 }
      start_stepwell
      task = Stepwell.submit("spec/single").wait(timeout: 20)

      expect(task.cancel.state).to be(:complete)
      expect(task.result(:only)).to eq(1)
      expect(events(task)).to eq([])
    end

    it "cancels twice as once" do
      define_single { |_| 1 }
      start_orchestrator
      task = Stepwell.submit("spec/single")
      2.times { task.cancel }

      expect(events(task).size).to eq(1)
    end
  end

  describe "retry" do
    it "gives the failed steps fresh attempts, and leaves what is complete alone" do
      works = false
      good = handler { |_| 1 }
      bad = handler { |step| works ? step.attempt : raise(Stepwell::PermanentError, "not yet") }
      Stepwell.workflow("spec/repair") do
        step :good, good
        step :bad, bad, depends_on: :good, max_attempts: 2
        step :last, good, depends_on: :bad
      end
      start_stepwell
      task = Stepwell.submit("spec/repair").wait(timeout: 20)
      expect(task.state).to be(:error)
      works = true
      Stepwell.pause("spec") # or all could be over before its state is read
      expect(task.retry(reason: "fixed", actor: "ben").state).to be(:in_progress)
      Stepwell.resume("spec")
      task.wait(timeout: 20)

      expect(task).to have_attributes(state: :complete, error: nil, results: { "good" => 1, "bad" => 2, "last" => 1 })
      expect(executed(task)).to eq(%w[good bad bad last])
      expect(task.steps[1]).to have_attributes(attempt: 2, max_attempts: 3)
      expect(events(task)).to eq([[:retry, "ben", "fixed"]])
    end

    it "takes the steps that are named, and leaves the others failed" do
      works = false
      bad = handler { |step| works ? step.attempt : raise(Stepwell::PermanentError, "not yet") }
      Stepwell.workflow("spec/three") { %i[a b c].each { |name| step(name, bad) } }
      start_stepwell
      task = Stepwell.submit("spec/three").wait(timeout: 20)
      works = true
      Stepwell.pause("spec") # or all could be over before its state is read
      expect(task.retry(steps: :b, actor: "ben").state).to be(:in_progress)
      Stepwell.resume("spec")
      task.wait(timeout: 20)

      expect(task).to have_attributes(state: :error, error: "a: not yet; c: not yet", results: { "b" => 2 })
      expect(events(task)).to eq([[:retry, "ben", nil]])
      task.retry(steps: %w[a c], reason: "the rest").wait(timeout: 20)
      expect(task).to have_attributes(state: :complete, results: { "a" => 2, "b" => 2, "c" => 2 })
      expect(task.events.map(&:details)).to eq([{ "steps" => ["b"] }, { "steps" => %w[a c] }])
      expect(task.events.map(&:at)).to match([be_a(Time), be >= task.events.first.at])
    end

    it "says which of the named steps has not failed, and then takes none" do
      good = handler { |_| 1 }
      bad = handler { |_| raise Stepwell::PermanentError, "no" }
      Stepwell.workflow("spec/two") do
        step :good, good
        step :bad, bad
      end
      start_stepwell
      task = Stepwell.submit("spec/two").wait(timeout: 20)

      { %i[bad good] => "good", "none" => "none" }.each do |names, other|
        expect { task.retry(steps: names) }
          .to raise_error(Stepwell::ValidationError, "step #{other} of task #{task.id} has not failed")
      end
      expect { task.retry(steps: []) }.to raise_error(Stepwell::ValidationError, /has no failed step to retry/)
      expect(task.refresh).to have_attributes(state: :error, events: [])
    end

    it "may be asked for again when it fails again" do
      define_single(max_attempts: 1) { |step| step.attempt < 3 ? raise("no") : "third time" }
      start_stepwell
      task = Stepwell.submit("spec/single").wait(timeout: 20)
      2.times { task.retry.wait(timeout: 20) }

      expect(task).to have_attributes(state: :complete, results: { "only" => "third time" })
      expect(psql("select attempt from stepwell.step_attempts order by 1")).to eq("1\n2")
    end

    it "says when there is nothing to retry" do
      define_single { |_| 1 }
      start_stepwell
      task = Stepwell.submit("spec/single").wait(timeout: 20)

      expect { task.retry }
        .to raise_error(Stepwell::ValidationError, "task #{task.id} is complete and has no failed step to retry")
      cancelled = Stepwell.submit("spec/single", {}).cancel
      expect { cancelled.retry }.to raise_error(Stepwell::ValidationError, /has no failed step to retry/)
    end
  end
end
