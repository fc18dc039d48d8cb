# frozen_string_literal: true

require "spec_helper"

RSpec.describe "operations" do
  let(:gate) { Queue.new }

  describe "Stepwell.pause" do
    it "lets what runs finish, and starts nothing in that namespace until it is resumed" do
      gate = self.gate
      held = handler { |_| gate.pop }
      quick = handler { |_| 1 }
      Stepwell.workflow("spec/two") do
        step :first, held
        step :second, quick, depends_on: :first
      end
      Stepwell.workflow("other/quick") { step :only, quick }
      start_stepwell("spec", "other", concurrency: 3)
      task = Stepwell.submit("spec/two")
      eventually { gate.num_waiting == 1 }
      expect([Stepwell.pause("spec", reason: "an incident", actor: "anna"), Stepwell.pause(:spec)]).to eq([true, false])
      late = Stepwell.submit("spec/two")
      gate << "done"
      eventually { task.refresh.steps.map(&:state) == %i[complete enqueued] }

      expect(Stepwell.submit("other/quick").wait(timeout: 20).state).to be(:complete)
      [task, late].each do |it|
        expect { it.wait(timeout: 0.3) }
          .to raise_error(Stepwell::WaitTimeout, /within 300ms: the namespace spec has been paused since 20\d\d-/)
      end
      expect(Stepwell.paused).to eq(["spec"])
      expect([Stepwell.resume(:spec, reason: "over", actor: "ben"), Stepwell.resume("spec")]).to eq([true, false])
      gate << "done"
      expect(Stepwell.wait_all([task, late], timeout: 20).map(&:state)).to all(be(:complete))
      expect(Stepwell.paused).to eq([])
      expect(psql("select kind, actor, reason from stepwell.task_events where namespace = 'spec' order by event_id"))
        .to eq("pause|anna|an incident\nresume|ben|over")
    end

    it "says that there is no such namespace" do
      start_orchestrator
      %i[pause resume].each do |call|
        expect { Stepwell.public_send(call, "nowhere") }
          .to raise_error(Stepwell::ValidationError, /\Athere is no namespace nowhere; a namespace exists from/)
        expect { Stepwell.public_send(call, "a\u0000b") }
          .to raise_error(Stepwell::ValidationError, /"a\\0b" must start with a-z/)
      end
    end
  end

  describe "retention" do
    it "removes what finished long enough ago, and frees its idempotency key; what failed or runs stays" do
      gate = self.gate
      define_single { |step| step.context["fail"] ? raise(Stepwell::PermanentError, "no") : step.context["n"] }
      define_single("held") { |_| gate.pop }
      ages = { "FINISHED" => "2s", "FAILED" => "never", "DEAD_LETTERS" => "1s", "CYCLE" => "100ms" }
      with_variables(ages.transform_keys { |key| "STEPWELL__RETENTION__#{key}" }) { start_stepwell }
      running = Stepwell.submit("spec/held")
      failed = Stepwell.submit("spec/single", { fail: true }).wait(timeout: 20)
      old = Stepwell.submit("spec/single", { n: 1 }, idempotency_key: "k").wait(timeout: 20)
      psql("select pgmq.send('step_results', '7')")
      eventually { Stepwell.dead_letters.any? }
      expect(Stepwell.submit("spec/single", { n: 2 }, idempotency_key: "k").id).to eq(old.id)
      eventually { psql("select count(*) from stepwell.tasks where task_id = '#{old.id}'") == "0" }

      expect { Stepwell.task(old.id) }.to raise_error(Stepwell::ValidationError, "there is no task #{old.id}")
      expect { old.wait(timeout: 1) }.to raise_error(Stepwell::ValidationError, "there is no task #{old.id}")
      expect([failed, running].map { |task| task.refresh.state }).to eq(%i[error in_progress])
      again = Stepwell.submit("spec/single", { n: 3 }, idempotency_key: "k").wait(timeout: 20)
      expect(again).to have_attributes(state: :complete, results: { "only" => 3 })
      expect(again.id).not_to eq(old.id)
      eventually { Stepwell.dead_letters.empty? }
      gate << "done"
      expect(running.wait(timeout: 20).result(:only)).to eq("done")
    end
  end
end
