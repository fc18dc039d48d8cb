# frozen_string_literal: true

require "spec_helper"

RSpec.describe Stepwell::Task, "#resolve" do
  let(:gate) { Queue.new }

  def failing
    handler { |_| raise Stepwell::PermanentError, "no" }
  end

  # Runs a task of a workflow whose step "second" fails, and "last" waits for it.
  def run_chain
    results = handler { |step| step.results.empty? ? 1 : step.results }
    failing = self.failing
    Stepwell.workflow("spec/chain") do
      step :first, results
      step :second, failing, depends_on: :first
      step :last, results, depends_on: %i[first second]
    end
    start_stepwell
    Stepwell.submit("spec/chain").wait(timeout: 20)
  end

  it "lets the dependents of a failed step go on, with exactly the given result" do
    task = run_chain
    expect(task).to have_attributes(state: :error, error: "second: no")
    result = { "big" => 2**64, "list" => [nil, 1.5, "ü"], "deep" => { "a" => {} } }
    Stepwell.pause("spec") # or the last step, and with it the task, could be over before its state is read
    expect(task.resolve(:second, result: result, reason: "done by phone", actor: "anna").state).to be(:in_progress)
    Stepwell.resume("spec")
    task.wait(timeout: 20)

    expect(task).to have_attributes(state: :complete, error: nil)
    expect(task.results).to eq("first" => 1, "second" => result, "last" => { "first" => 1, "second" => result })
    expect(task.steps.map(&:state)).to eq(%i[complete resolved complete])
    expect(task.steps[1]).to have_attributes(error: nil, attempt: 1)
    expect(task.steps[1].attempts.map { |it| it["message"] }).to eq(["no"])
    expect(executed(task)).to eq(%w[first second last])
    expect(task.events.map(&:to_h))
      .to match([{ kind: :resolve, actor: "anna", database_user: "stepwell", reason: "done by phone",
                   details: { "step" => "second" },
                   at: be_between(task.steps[1].attempts.last["finished_at"], Time.now) }])
  end

  it "ends the task as resolved when the step was its last" do
    define_single(max_attempts: 1) { |_| raise "no" }
    start_stepwell
    task = Stepwell.submit("spec/single").wait(timeout: 20)

    expect(task.resolve("only").state).to be(:resolved)
    expect(task).to have_attributes(finished?: true, error: nil, results: { "only" => nil })
    expect(task.finished_at).to be_within(20).of(Time.now)
    expect(task.wait(timeout: 0).state).to be(:resolved)
    expect(task.events.map(&:to_h)).to match([include(kind: :resolve, actor: "stepwell", reason: nil)])
  end

  it "leaves a task in error in which other steps have failed, and takes them one after the other" do
    failing = self.failing
    Stepwell.workflow("spec/two") { %i[a b].each { |name| step(name, failing) } }
    start_stepwell
    task = Stepwell.submit("spec/two").wait(timeout: 20)

    expect(task.resolve(:a, result: 1)).to have_attributes(state: :error, error: "b: no", results: { "a" => 1 })
    expect(task.resolve(:b, result: 2)).to have_attributes(state: :resolved, error: nil)
    expect(task.results).to eq("a" => 1, "b" => 2)
  end

  it "takes a running step from its handler, whose own result is dropped, and wakes who waits" do
    gate = self.gate
    define_single { |_| gate.pop }
    orchestrator = start_orchestrator
    start_worker
    task = Stepwell.submit("spec/single")
    eventually { gate.num_waiting == 1 }
    waiter = Thread.new { Stepwell.task(task.id).wait(timeout: 20).results }
    eventually { waiter.stop? }
    task.resolve(:only, result: "by hand")

    expect(waiter.value).to eq("only" => "by hand")
    gate << "by the handler"
    eventually { orchestrator.status[:summary][:stale_results] == 1 }
    expect(task.refresh).to have_attributes(state: :resolved, results: { "only" => "by hand" })
  end

  it "takes a step that waits for a worker, or for its next attempt" do
    define_single("fails", backoff: { base: 3600, cap: 3600 }) { |_| raise "no" }
    define_single("waits") { |_| 1 }
    start_orchestrator
    waiting = Stepwell.submit("spec/waits")
    eventually { waiting.refresh.steps.any? }
    expect(waiting.resolve(:only, result: 7)).to have_attributes(state: :resolved, results: { "only" => 7 })
    start_worker
    failed = Stepwell.submit("spec/fails")
    eventually { failed.refresh.steps.first&.state == :waiting_for_retry }
    expect(failed.resolve(:only, result: 8)).to have_attributes(state: :resolved, results: { "only" => 8 })

    expect(failed.steps.first).to have_attributes(run_at: nil, error: nil)
    expect(executed(waiting)).to be_empty
  end

  describe "says" do
    def expect_refused(message, &block)
      expect(&block).to raise_error(Stepwell::ValidationError, message)
    end

    it "that a step waits for others, has ended, or is not there" do
      task = run_chain
      expect_refused("step last of task #{task.id} is pending") { task.resolve(:last) }
      expect_refused("step first of task #{task.id} is complete") { task.resolve(:first) }
      expect_refused("task #{task.id} has no step fourth") { task.resolve(:fourth) }
      Stepwell.pause("spec") # or the last step, and with it the task, could be over before the next line
      task.resolve(:second)
      expect_refused("step second of task #{task.id} is resolved") { task.resolve(:second) }
      Stepwell.resume("spec")
      task.wait(timeout: 20)
      expect_refused("task #{task.id} is complete: its steps cannot be resolved any more") { task.resolve(:last) }
      expect(task.events.size).to eq(1)
    end

    it "that the task was cancelled" do
      define_single { |_| 1 }
      start_orchestrator
      task = Stepwell.submit("spec/single").cancel
      expect_refused("task #{task.id} is cancelled: its steps cannot be resolved any more") { task.resolve(:only) }
    end

    it "that the result is not JSON, or cannot be stored, and leaves the step as it is" do
      task = run_chain
      { Time.now => /\Athe result is not JSON: a Time \(give/,
        { "a" => [Float::NAN] } => "the result is not JSON: NaN at result[\"a\"][0]",
        "\xFF" => "the result is not JSON: a String that is not UTF-8 (its encoding is UTF-8)",
        { "a" => "\u0000" } => "the result is not valid: holds the character \\u0000, which PostgreSQL cannot store",
        10**131_073 => /\Athe result.*cannot be stored as jsonb/m }
        .each { |result, message| expect_refused(message) { task.resolve(:second, result: result) } }

      expect(task.refresh.steps[1]).to have_attributes(state: :error, result: nil)
      expect(task.events).to be_empty
    end
  end
end
