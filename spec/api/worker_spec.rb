# frozen_string_literal: true

require "spec_helper"

RSpec.describe Stepwell::Worker do
  # A workflow whose step waits for the gate.
  def define_gated
    @gate = Queue.new
    gate = @gate
    define_single { |_| gate.pop }
  end

  it "executes as many steps at a time as it has threads, and no more" do
    define_gated
    start_stepwell(concurrency: 3)
    tasks = Stepwell.submit_all([{ workflow: "spec/single" }] * 7)
    eventually { @gate.num_waiting == 3 }
    4.times { |n| @gate << n }
    eventually { @gate.empty? && @gate.num_waiting == 3 }
    3.times { |n| @gate << (n + 4) }

    Stepwell.wait_all(tasks, timeout: 20)
    expect(tasks.map { |task| task.result(:only) }).to contain_exactly(*0..6)
  end

  it "takes the steps of its namespaces only" do
    code = handler(&:workflow)
    %w[red/wf green/wf blue/wf].each { |name| Stepwell.workflow(name) { step(:only, code) } }
    start_orchestrator
    start_worker("red", "blue")
    red, green, blue = %w[red green blue].map { |color| Stepwell.submit("#{color}/wf") }

    expect([red, blue].map { |task| task.wait(timeout: 20).result(:only) }).to eq(%w[red/wf blue/wf])
    expect { green.wait(timeout: 0.3) }.to raise_error(Stepwell::WaitTimeout, /1 steps wait for a worker of green/)
    start_worker("green")
    expect(green.wait(timeout: 20).result(:only)).to eq("green/wf")
  end

  it "is quiet on demand: what runs goes on, what waits is left to others" do
    define_gated
    start_orchestrator
    worker = start_worker(concurrency: 1)
    first = Stepwell.submit("spec/single")
    eventually { @gate.num_waiting == 1 } # it runs; what is only claimed would be given back
    worker.quiet
    others = Stepwell.submit_all([{ workflow: "spec/single" }] * 2)
    heir = start_worker(concurrency: 2)
    3.times { @gate << 1 }
    Stepwell.wait_all([first, *others], timeout: 20)

    expect(first.steps.first.worker).to eq(worker.id)
    expect(others.flat_map { |task| task.steps.map(&:worker) }).to eq([heir.id] * 2)
    expect(worker).to be_running
  end

  it "shows itself without the credentials of its database" do
    worker = described_class.new(namespaces: %w[a b], concurrency: 2, database_url: "postgres://app:s3cret@db/shop")
    expect(worker.inspect).to eq("#<Stepwell::Worker stopped a,b concurrency=2>")
  end

  it "shares the steps with other workers: each is executed once" do
    define_single { |step| step.context["n"] }
    start_orchestrator
    workers = Array.new(3) { start_worker(concurrency: 2) }
    tasks = Stepwell.submit_all(Array.new(300) { |n| { workflow: "spec/single", context: { n: n } } })
    Stepwell.wait_all(tasks, timeout: 30)

    expect(Specs::Steps.executed.size).to eq(300)
    expect(tasks.map { |task| task.result(:only) }).to eq((0..299).to_a)
    ids = psql("select distinct worker_id from stepwell.steps").lines(chomp: true)
    expect(ids - workers.map(&:id)).to be_empty
  end

  it "has handlers that submit further tasks and wait for them" do
    define_single("inner") { |step| step.context["n"] + 1 }
    define_single("outer") { |step| Stepwell.submit("spec/inner", step.context).wait(timeout: 20).result(:only) * 10 }
    start_stepwell(concurrency: 2)

    expect(Stepwell.submit("spec/outer", { n: 1 }).wait(timeout: 20).result(:only)).to eq(20)
  end

  # What the extension looks up once it looks up when it is loaded: Ruby may switch threads in there, and a thread that
  # waited for the other, with Ruby's lock, would wait for ever.
  it "lets its threads get their first steps at the same time, wherever Ruby switches between them" do
    process = run_ruby(<<~RUBY)
      Object.singleton_class.prepend(Module.new do
        def const_get(name, *)
          sleep 0.2 if name.to_s.start_with?("Stepwell::Native")
          super
        end
      end)
      code = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| step.context["n"] } }
      Stepwell.workflow("spec/single") { step :only, code }
      orchestrator = Stepwell::Orchestrator.embedded
      tasks = Stepwell.submit_all(Array.new(50) { |n| { workflow: "spec/single", context: { n: n } } })
      worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 10).start
      Stepwell.wait_all(tasks, timeout: 20)
      puts tasks.sum { |task| task.result(:only) }
      worker.stop
      orchestrator.stop
    RUBY
    expect(process.gets).to eq("1225")
    expect(process.wait).to be_success
  end
end
