# frozen_string_literal: true

require "spec_helper"

RSpec.describe Stepwell::Worker, "that stops" do
  # A worker, and a task whose step it executes until the gate opens.
  def start_held
    @gate = Queue.new
    gate = @gate
    define_single { |_| gate.pop }
    start_orchestrator
    worker = start_worker
    task = Stepwell.submit("spec/single")
    eventually { gate.num_waiting == 1 }
    [worker, task]
  end

  it "waits for what runs" do
    worker, task = start_held
    stopping = Thread.new { worker.stop(timeout: 20) }
    eventually { stopping.stop? }
    @gate << "done"

    expect(stopping.value).to be(true)
    expect(worker).not_to be_running
    expect(task.wait(timeout: 20).result(:only)).to eq("done")
  end

  it "gives back what it has not started the attempt not counted" do
    define_single { |step| step.context["n"] }
    start_orchestrator
    worker = start_worker(concurrency: 1)
    quick = Stepwell.submit_all(Array.new(200) { |n| { workflow: "spec/single", context: { n: n } } })
    worker.stop
    start_worker
    Stepwell.wait_all(quick, timeout: 20)

    expect(quick.map { |task| task.result(:only) }).to eq((0..199).to_a)
    expect(psql("select distinct attempt from stepwell.steps")).to eq("1")
    expect(Specs::Steps.executed.size).to eq(200)
  end

  it "gives back what still runs at the end of its time, the attempt not counted, and kills it" do
    worker, task = start_held
    expect { expect(worker.stop(timeout: 0.1)).to be(false) }
      .to output(/WORKER steps were still running at the end of the grace period/).to_stderr_from_any_process
    eventually { @gate.num_waiting.zero? } # its thread is gone
    heir = start_worker
    eventually { @gate.num_waiting == 1 }
    @gate << "by another"

    expect(task.wait(timeout: 20).result(:only)).to eq("by another")
    expect(task.steps.first).to have_attributes(attempt: 1, worker: heir.id)
  end

  it "can be told so twice, and be started again" do
    define_single { |_| 1 }
    start_orchestrator
    worker = start_worker
    expect { worker.start }.to raise_error(Stepwell::Error, "the worker runs already")
    first = worker.id
    expect([worker.stop, worker.stop, worker.running?, worker.id]).to eq([true, true, false, nil])
    worker.start

    expect(worker.id).to match(/\A.+:#{Process.pid}:\h{6}\z/).and(satisfy { |id| id != first })
    expect(Stepwell.submit("spec/single").wait(timeout: 20).steps.first.worker).to eq(worker.id)
  end

  it "can be told so by several threads at once" do
    worker, task = start_held
    stopping = Array.new(5) { Thread.new { worker.stop(timeout: 20) } }
    eventually { stopping.all?(&:stop?) }
    @gate << "done"

    expect(stopping.map(&:value)).to all(be(true))
    expect(worker).not_to be_running
    expect(Stepwell.running.to_a).not_to include(worker)
    expect(task.wait(timeout: 20).result(:only)).to eq("done")
  end

  it "can be told so by somebody who has less time: that ends both waits" do
    worker, = start_held
    patient = Thread.new { worker.stop(timeout: 60) }
    eventually { patient.stop? }
    expect { expect(worker.stop(timeout: 0)).to be(false) }
      .to output(/WORKER steps were still running at the end of the grace period/).to_stderr_from_any_process

    expect(patient.join(10)).to be(patient)
    expect(worker).not_to be_running
  end

  it "lets `run` return, which somebody waits in" do
    worker, task = start_held
    before = %w[TERM INT QUIT].to_h { |name| [name, Signal.trap(name, "IGNORE")] }
    running = Thread.new { worker.run }
    eventually { running.stop? }
    @gate << "done"

    expect(worker.stop).to be(true)
    expect(running.value).to be(true)
    expect(%w[TERM INT QUIT].map { |name| Signal.trap(name, before[name] || "DEFAULT") }).to eq(["IGNORE"] * 3)
    expect(task.wait(timeout: 20).result(:only)).to eq("done")
  end
end
