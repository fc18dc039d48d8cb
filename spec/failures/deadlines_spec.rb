# frozen_string_literal: true

require "spec_helper"

RSpec.describe "the deadline of a task" do
  let(:gate) { Queue.new }

  # Runs the block; of so many tasks the orchestrator says that they were overdue, and nothing else.
  def expect_overdue(count, &block)
    line = /.* WARN ORCHESTRATOR tasks were not finished by their deadline tasks=1 steps=\d.*\n/
    expect(&block).to output(/\A#{line}{#{count}}\z/).to_stderr_from_any_process
  end

  it "ends it in error, whatever it waits for, and its steps with it" do
    one = handler { |_| 1 }
    fails = handler { |_| raise "no" }
    Stepwell.workflow("spec/late", timeout: 1.5) do
      step :first, one
      step :failing, fails, backoff: { base: 3600, cap: 3600 }
      step :last, one, depends_on: %i[first failing]
    end
    start_stepwell
    task = nil
    expect_overdue(1) { task = Stepwell.submit("spec/late").wait(timeout: 30) }

    expect(task).to have_attributes(state: :error, error: /\Athe task was not finished by its deadline, 20\d\d-/,
                                    results: { "first" => 1 })
    expect(task.finished_at - task.created_at).to be_between(1.5, 20)
    expect(task.steps.map(&:state)).to eq(%i[complete error pending])
    expect(task.steps[1].attempts.map { |it| it["message"] }).to eq(["no"]) # it waited for the next
    expect(task.events)
      .to match([have_attributes(kind: :deadline, actor: "stepwell", reason: "the deadline passed", at: be_a(Time))])
    expect(task.events.first.at).to eq(task.finished_at)
  end

  it "ends it when nobody takes its steps" do
    define_single(workflow: { timeout: 0.3 }) { |_| 1 }
    define_single("after") { |_| 2 }
    start_orchestrator
    task = nil
    expect_overdue(1) { task = Stepwell.submit("spec/single").wait(timeout: 30) }

    expect(task.steps.first).to have_attributes(state: :error, attempt: 1)
    expect(task.steps.first.error)
      .to include("kind" => "timeout", "class" => "Stepwell::DeadlineExceeded", "code" => "DEADLINE_EXCEEDED",
                  "message" => "the task was overdue before the step was done", "started_at" => nil)
    start_worker
    expect(Stepwell.submit("spec/after").wait(timeout: 30).state).to be(:complete)
    expect(executed(task)).to be_empty
  end

  it "is told to a running handler at its next heartbeat, and what it still reports is dropped" do
    heard = Queue.new
    gate = self.gate
    define_single(workflow: { timeout: 1.5 }) do |step|
      gate.pop
      step.heartbeat
    rescue Stepwell::LostLease => e
      heard << [e.class, e.message]
      "too late"
    end
    orchestrator = start_orchestrator
    start_worker
    task = nil
    expect_overdue(1) { task = Stepwell.submit("spec/single").wait(timeout: 30) }
    gate << true

    expect(heard.pop).to eq([Stepwell::LostLease, "step only of task #{task.id} has ended without its handler"])
    eventually { orchestrator.status[:summary][:stale_results] == 1 }
    expect(task.refresh).to have_attributes(state: :error, results: {})
  end

  it "gives the whole time again to a task that is retried" do
    gate = self.gate
    define_single(workflow: { timeout: 0.5 }) { |step| step.attempt < 3 ? gate.pop : "third time" }
    start_stepwell(concurrency: 3)
    task = nil
    expect_overdue(2) do
      task = Stepwell.submit("spec/single").wait(timeout: 30)
      expect(task.retry(reason: "once more").state).to be(:in_progress)
      expect(task.wait(timeout: 30).state).to be(:error)
    end
    first, again, second = task.events
    expect([first, again, second].map(&:kind)).to eq(%i[deadline retry deadline])
    expect(second.at - again.at).to be >= 0.5

    expect(task.retry.wait(timeout: 30)).to have_attributes(state: :complete, error: nil,
                                                            results: { "only" => "third time" })
    2.times { gate << "too late" }
  end

  it "is no matter for a task that ends in time" do
    define_single(workflow: { timeout: 2 }) { |_| "in time" }
    start_stepwell
    task = Stepwell.submit("spec/single").wait(timeout: 30)
    eventually { psql("select count(*) from stepwell.task_deadlines") == "0" } # it has come, and is settled

    expect(task.refresh).to have_attributes(state: :complete, events: [])
  end
end
