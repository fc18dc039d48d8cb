# frozen_string_literal: true

require "spec_helper"

# Ruby may collect garbage at every allocation: what the extension holds must survive that, and the rest must go.
RSpec.describe "the extension under a stressed garbage collector" do
  def stressed
    GC.stress = true
    yield
  ensure
    GC.stress = false
  end

  it "defines, submits, executes, waits and reads" do
    stressed do
      define_single(config: { deep: [1] }) do |step|
        stressed { [step.context["n"], step.config, step.task_id, step.name, step.metadata] }
      end
    end
    orchestrator = start_orchestrator
    start_worker(concurrency: 2)
    stressed do
      @task = orchestrator.submit("spec/single", { n: 7, text: "ü" }).wait(timeout: 60)
      @result = @task.result(:only)
      @status = orchestrator.status
      @error = begin
        @task.retry
      rescue Stepwell::ValidationError => e
        e.message
      end
    end

    expect(@result).to eq([7, { "deep" => [1] }, @task.id, "only", {}])
    expect(@status).to include(running: true)
    expect(@error).to end_with("is complete and has no failed step to retry")
  end

  it "collects orchestrators, workers and connections that were stopped and dropped" do
    define_single { |_| 1 }
    count = lambda do
      GC.start
      ObjectSpace.each_object(Stepwell::Native::Orchestrator).count
    end
    before = count.call
    20.times do
      Stepwell::Orchestrator.embedded(database_url: database_url) do |orchestrator|
        Stepwell::Worker.new(namespaces: "spec", orchestrator: orchestrator, concurrency: 1).start.stop
      end
    end

    expect(count.call - before).to be < 10
  end
end
