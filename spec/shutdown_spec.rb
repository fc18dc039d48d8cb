# frozen_string_literal: true

require "spec_helper"

RSpec.describe "a process that runs a worker" do
  # Works until it is told to stop. The handler of "spec/single" says that it runs, and waits at the gate, which each
  # line of input opens once; that of "spec/quick" does not wait.
  script = <<~RUBY
    GATE = Queue.new
    Thread.new { while (line = $stdin.gets) do GATE << line.chomp end }
    single = Class.new(Stepwell::StepHandler) do
      def call(_step)
        puts "running"
        GATE.pop
      end
    end
    quick = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| step.attempt } }
    Stepwell.workflow("spec/single") { step :only, single, max_attempts: 1 }
    Stepwell.workflow("spec/quick") { step :only, quick, max_attempts: 1 }
    worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 2)
    finished = worker.run(timeout: Float(ENV.fetch("TIMEOUT")))
    puts "finished: \#{finished}, running: \#{worker.running?}"
  RUBY

  define_method(:start_process) do |timeout: 30, env: {}|
    start_orchestrator
    run_ruby(script, env: { "DATABASE_URL" => database_url, "TIMEOUT" => timeout.to_s, **env })
  end

  before do
    define_single(max_attempts: 1) { |step| "heir, attempt #{step.attempt}" }
    define_single("quick", max_attempts: 1, &:attempt)
  end

  # @return [Stepwell::Task] which the process executes
  def submit_running(process)
    Stepwell.submit("spec/single").tap { expect(process.gets).to eq("running") }
  end

  def held
    psql("select coalesce(sum(cardinality(task_ids)), 0) from stepwell.claims").to_i
  end

  { "SIGTERM" => %w[TERM], "SIGINT" => %w[INT], "SIGTERM twice" => %w[TERM TERM], "both" => %w[INT TERM] }
    .each do |what, signals|
      it "finishes upon #{what} what runs, leaves the rest to others, and ends" do
        process = start_process
        tasks = Array.new(2) { submit_running(process) }
        signals.each do |name|
          process.signal(name)
          process.signal(name) # the same again, before it is seen
        end
        waiting = Stepwell.submit_all([{ workflow: "spec/single" }] * 3)
        start_worker
        Stepwell.wait_all(waiting, timeout: 30)
        2.times { |n| process.puts("done #{n}") }

        expect(process.gets).to eq("finished: true, running: false")
        expect(process.ended.exitstatus).to eq(0)
        Stepwell.wait_all(tasks, timeout: 30)
        expect(tasks.map { |task| task.result(:only) }).to contain_exactly("done 0", "done 1")
        expect(waiting.map { |task| task.result(:only) }).to eq(["heir, attempt 1"] * 3)
      end
    end

  it "gives back at once what it has claimed and not started, the attempts not counted" do
    process = start_process(env: { "STEPWELL__WORKER__PREFETCH" => "5s" })
    # Many that are quick come first, and nothing between: so it claims far ahead when it comes to the others.
    tasks = Stepwell.submit_all(([{ workflow: "spec/quick" }] * 800) + ([{ workflow: "spec/single" }] * 20)).last(20)
    2.times { expect(process.gets).to eq("running") }
    eventually { held > 2 }
    process.signal("TERM")
    eventually { held == 2 }
    start_worker
    eventually { tasks.count { |task| task.refresh.state == :complete } == 18 }
    2.times { process.puts("done") }

    expect(process.gets).to eq("finished: true, running: false")
    expect(process.ended).to be_success
    Stepwell.wait_all(tasks, timeout: 30)
    expect(tasks.map { |task| task.result(:only) }.tally).to eq("done" => 2, "heir, attempt 1" => 18)
    expect(psql("select count(*) from stepwell.step_attempts")).to eq("0")
  end

  it "gives back what has not finished in time, the attempt not counted, and ends" do
    process = start_process(timeout: 0.5)
    task = submit_running(process)
    before = Specs::Patience.now
    process.signal("TERM")

    expect(process.gets).to eq("finished: false, running: false")
    expect(process.ended.exitstatus).to eq(0)
    expect(Specs::Patience.now - before).to be_between(0.5, 10)
    expect(process.errors)
      .to match(/\A.* WARN WORKER steps were still running at the end of the grace period; given back steps=1\n\z/)
    start_worker
    expect(task.wait(timeout: 30).result(:only)).to eq("heir, attempt 1")
    expect(task.steps.first).to have_attributes(attempt: 1, attempts: [])
  end

  %w[QUIT TSTP].each do |name|
    it "stops claiming upon SIG#{name}, and stays until SIGTERM" do
      process = start_process
      tasks = Array.new(2) { submit_running(process) }
      process.signal(name)
      process.puts("first")
      eventually { tasks.count { |task| task.refresh.finished? } == 1 }
      waiting = Stepwell.submit("spec/single")
      expect { waiting.wait(timeout: 0.5) }.to raise_error(Stepwell::WaitTimeout, /1 steps wait for a worker of spec/)
      process.puts("second")
      Stepwell.wait_all(tasks, timeout: 30)

      expect(Process.wait(process.pid, Process::WNOHANG)).to be_nil
      process.signal("TERM")
      expect(process.gets).to eq("finished: true, running: false")
      expect(process.ended.exitstatus).to eq(0)
      expect(waiting.refresh.steps.first).to have_attributes(state: :enqueued, attempt: 1)
    end
  end

  it "hears signals that come at once, one after the other" do
    process = start_process
    task = submit_running(process)
    %w[STOP QUIT TERM CONT].each { |name| process.signal(name) }
    process.puts("done")

    expect(process.gets).to eq("finished: true, running: false")
    expect(process.ended.exitstatus).to eq(0)
    expect(task.wait(timeout: 30).result(:only)).to eq("done")
  end

  it "goes on after `run` with the signal handlers that were there before" do
    start_orchestrator
    process = run_ruby(<<~RUBY)
      trap("TERM") { puts "mine" }
      trap("INT", "IGNORE")
      trap("QUIT", "DEFAULT") # whoever started the suite may ignore it
      code = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| puts("running") } }
      Stepwell.workflow("spec/single") { step :only, code, max_attempts: 1 }
      puts Stepwell::Worker.new(namespaces: "spec").run
      Process.kill("TERM", Process.pid)
      begin
        Stepwell::Worker.new(namespaces: "spec", database_url: "postgres://nobody@127.0.0.1:1/none").run
      rescue Stepwell::DatabaseError
        puts "no database"
      end
      Process.kill("TERM", Process.pid)
      puts trap("INT", "DEFAULT"), trap("QUIT", "DEFAULT")
    RUBY
    submit_running(process)
    process.signal("TERM")

    expect(Array.new(6) { process.gets }).to eq(["true", "mine", "no database", "mine", "IGNORE", "DEFAULT"])
    expect(process.ended).to be_success
  end
end
