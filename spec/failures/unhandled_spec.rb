# frozen_string_literal: true

require "spec_helper"

RSpec.describe "a step whose handler a worker lacks" do
  # Registers the workflow, and forgets its code: a worker of an older release.
  def define_elsewhere
    define_single { |_| 1 }
    start_orchestrator
    Stepwell.registry.clear
  end

  worker = <<~RUBY
    code = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| "attempt \#{step.attempt}" } }
    Stepwell.workflow("spec/single") { step :only, code } if ENV["KNOWS"]
    worker = Stepwell::Worker.new(namespaces: "spec").start
    puts "started"
    $stdin.read
    worker.stop
  RUBY

  def start_other(script, **variables)
    env = { "DATABASE_URL" => database_url, "STEPWELL__WORKER__UNHANDLED_DELAY" => "100ms",
            **variables.transform_keys(&:to_s) }
    run_ruby(script, env: env).tap { |process| expect(process.gets).to eq("started") }
  end

  it "is given back, the attempt not counted, and taken by a worker that has it" do
    define_elsewhere
    older = start_other(worker)
    task = Stepwell.submit("spec/single")
    eventually { psql("select count(*) from stepwell.steps where unhandled_since is not null") == "1" }
    newer = start_other(worker, KNOWS: "1")
    task.wait(timeout: 30)
    [older, newer].each { |process| expect(process.wait).to be_success }

    expect(task).to have_attributes(state: :complete, results: { "only" => "attempt 1" })
    expect(psql("select count(*) from stepwell.step_attempts")).to eq("0")
    expect(older.errors).to match(%r{WORKER this worker has no handler for the step, it goes back.*spec/single#only})
  end

  it "ends in error that names the handler when nobody has had it for too long" do
    define_elsewhere
    older = start_other(worker, STEPWELL__WORKER__UNHANDLED_GIVE_UP: "1s")
    task = Stepwell.submit("spec/single").wait(timeout: 30)
    expect(older.wait).to be_success

    expect(task.state).to be(:error)
    expect(task.error).to eq("only: no worker has the handler spec/single#only of step only")
    expect(task.steps[0].error).to include("kind" => "permanent", "code" => "UNKNOWN_HANDLER")
    expect(older.errors).to include("this worker has no handler for the step")
  end

  it "never becomes a class by its name" do
    define_single { |_| 1 }
    start_orchestrator
    psql("update stepwell.workflow_steps set handler = 'Kernel'")
    older = start_other(worker, KNOWS: "1", STEPWELL__WORKER__UNHANDLED_GIVE_UP: "1s")
    task = Stepwell.submit("spec/single").wait(timeout: 30)
    expect(older.wait).to be_success

    expect(task.error).to eq("only: no worker has the handler Kernel of step only")
    expect(older.errors).to include("this worker has no handler")
  end

  describe "and that the database does not take back" do
    let!(:log) { logged }

    # A worker that has claimed the step and cannot give it back, and the step's task.
    def start_stuck
      define_single("other") { |_| "runs" }
      define_elsewhere
      define_single("other") { |_| "runs" }
      psql("alter function stepwell.release_unhandled rename to away")
      worker = start_worker(concurrency: 1)
      task = Stepwell.submit("spec/single")
      said = /could not be given back; its claim expires task=#{task.id} step=only error=".*release_unh/
      eventually { log.string.match?(/WARN -- : WORKER this worker has no handler/) && log.string.match?(said) }
      psql("alter function stepwell.away rename to release_unhandled")
      [worker, task]
    end

    it "costs the worker no thread" do
      worker, = start_stuck
      expect(Stepwell.submit("spec/other").wait(timeout: 20).result(:only)).to eq("runs")
      expect(worker.stop).to be(true)
      expect(log.string.scan("this worker has no handler for the step").size).to eq(1)
    end

    it "is free again when its lease is over" do
      _, task = with_variables("STEPWELL__WORKER__LEASE" => "1s") { start_stuck }
      define_single(&:attempt)
      expect(task.wait(timeout: 10).result(:only)).to eq(2)
      eventually { log.string.match?(/ORCHESTRATOR a worker stopped sending heartbeats/) }
    end
  end
end
