# frozen_string_literal: true

require "spec_helper"

RSpec.describe "seconds that a caller gives" do
  not_a_number = [Float::NAN, BigDecimal("NaN"), "5", [5], Time.at(5), Complex(1, 1), true]
  none = [-1, -0.5, -Float::INFINITY, Rational(-1, 3), -(10**30)]
  endless = [nil, Float::INFINITY, 1e19, 10**400, BigDecimal("Infinity")]

  # @return [Stepwell::Task] that nobody executes until the example says so
  def waiting_task
    define_single { |_| 1 }
    start_orchestrator
    Stepwell.submit("spec/single")
  end

  it "are none when they are negative, in a wait" do
    task = waiting_task
    none.each do |seconds|
      message = /\Atask #{task.id} has not finished within 0ns: /
      expect { task.wait(timeout: seconds) }.to raise_error(Stepwell::WaitTimeout, message)
      expect { Stepwell.wait_all([task], timeout: seconds) }.to raise_error(Stepwell::WaitTimeout, message)
      expect { Stepwell.wait_all([task], timeout: seconds) { |finished| expect(finished).to eq(0) } }
        .to raise_error(Stepwell::WaitTimeout, message)
    end
  end

  it "are endless where a wait is to be, with a block and without" do
    task = waiting_task
    waits = endless.flat_map do |seconds|
      [Thread.new { task.class.new(task.connection, task.id).wait(timeout: seconds).state },
       Thread.new { Stepwell.wait_all([Stepwell.task(task.id)], timeout: seconds) { |_| nil }.first.state }]
    end
    eventually { waits.all?(&:stop?) }
    start_worker

    expect(waits.map { |wait| wait.join(20)&.value }).to all(be(:complete))
  end

  it "are refused by the argument's name where they are none" do
    task = waiting_task
    worker = Stepwell::Worker.new(namespaces: "spec", database_url: database_url)
    not_a_number.each do |seconds|
      [-> { task.wait(timeout: seconds) }, -> { Stepwell.wait_all([task], timeout: seconds) },
       -> { worker.stop(timeout: seconds) }, -> { worker.run(timeout: seconds) },
       -> { Stepwell.limit("spec", rate: 1, period: seconds) }].zip([*%w[timeout] * 4, "period"]) do |call, name|
        expect(&call).to raise_error(Stepwell::ValidationError, /\A#{name}: .* is no number of seconds\z/)
      end
    end
    expect(worker).not_to be_running
  end

  it "are none, or endless, for a worker that stops" do
    gate = Queue.new
    define_single { |_| gate.pop }
    start_orchestrator
    worker = start_worker
    task = Stepwell.submit("spec/single")
    eventually { gate.num_waiting == 1 }
    expect { expect(worker.stop(timeout: -1)).to be(false) }
      .to output(/WORKER steps were still running at the end of the grace period/).to_stderr_from_any_process

    endless.each do |seconds|
      worker.start
      eventually { gate.num_waiting == 1 }
      stopping = Thread.new { worker.stop(timeout: seconds) }
      eventually { stopping.stop? }
      gate << "done"
      expect(stopping.value).to be(true)
      expect(task.wait(timeout: 20).result(:only)).to eq("done")
      task = Stepwell.submit("spec/single")
    end
  end

  it "are refused by name and range as a limit's period and in a definition" do
    define_single { |_| 1 }
    start_orchestrator
    [-1, 0, 0.05, 86_401, Float::INFINITY, 1e19].each do |period|
      expect { Stepwell.limit("spec", rate: 1, period: period) }
        .to raise_error(Stepwell::ValidationError, "limit of spec is not valid: period: must be from 100ms to a day")
    end
    code = handler { |_| 1 }
    { { timeout: Float::NAN } => %r{\Aworkflow spec/bad, step only: timeout: NaN is no number of seconds\z},
      { timeout: [1] } => /step only: timeout: \[1\] is no number of seconds/,
      { timeout: -1 } => /steps.only.timeout: -1s must be above 0 and at most a year/,
      { backoff: { cap: Float::NAN } } => /step only: backoff: cap: NaN is no number of seconds/,
      { backoff: { cap: Float::INFINITY } } => /step only: backoff: cap: Infinity has no end: at most a year/,
      { backoff: 5 } => /step only: backoff: must be a Hash with base:, cap: and jitter:, not a Integer/ }
      .each do |options, message|
        expect { Stepwell.workflow("spec/bad") { step(:only, code, **options) } }
          .to raise_error(Stepwell::ValidationError, message)
      end
    expect { Stepwell.workflow("spec/bad", timeout: Float::NAN) { step(:only, code) } }
      .to raise_error(Stepwell::ValidationError, "workflow spec/bad, timeout: NaN is no number of seconds")
  end

  it "have no end in a definition where they are endless" do
    define_single(timeout: Float::INFINITY, workflow: { timeout: Float::INFINITY }) { |_| 1 }
    start_orchestrator
    sql = "select num_nulls(w.timeout, s.timeout) " \
          "from stepwell.workflows w join stepwell.workflow_steps s using (workflow_id)"

    expect(psql(sql)).to eq("2")
  end

  it "can be durations of ActiveSupport, wherever they are taken" do
    run = run_ruby(<<~RUBY)
      require "active_support"
      require "active_support/core_ext/numeric/time"
      require "active_support/core_ext/hash/indifferent_access"
      Stepwell.configure { |c| c.worker.lease = 2.minutes; c.set(retention: { finished: 1.week }) }
      puts Stepwell.config[:worker][:lease], Stepwell.config[:retention][:finished]
      one = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| 1 } }
      Stepwell.workflow("spec/timed", timeout: 10.minutes) do
        step :only, one, timeout: 1.5.minutes, backoff: { base: 1.second, cap: 1.hour }
      end
      api = Class.new(Stepwell::ApiHandler) { open_timeout 2.seconds; read_timeout 1.minute }
      puts [api.open_timeout, api.read_timeout].inspect
      Stepwell::Orchestrator.embedded do
        Stepwell.limit("spec", rate: 100, period: 1.second)
        puts Stepwell.queues.first.rate_period
        worker = Stepwell::Worker.new(namespaces: "spec")
        task = Stepwell.submit_all([{ workflow: "spec/timed", context: { n: 1 } }.with_indifferent_access]).first
        begin
          task.wait(timeout: 0.05.seconds)
        rescue Stepwell::WaitTimeout => e
          puts e.message[/within \\S+/]
        end
        worker.start
        puts task.wait(timeout: 1.minute).result(:only), Stepwell.wait_all([task], timeout: 1.minute).size
        puts worker.stop(timeout: 20.seconds)
        begin
          Stepwell::Worker.new(namespaces: "spec", concurrency: 5.seconds)
        rescue Stepwell::ValidationError => e
          puts e.message
        end
      end
    RUBY
    expect(Array.new(9) { run.gets }).to eq(["120s", "604800s", "[2.0, 60.0]", "1.0", "within 50ms:", "1", "1", "true",
                                             "concurrency: 5 seconds must be an Integer from 1 to 1000"])
    expect(run.wait).to be_success
    times = psql("select w.timeout, s.timeout, s.backoff_base, s.backoff_cap " \
                 "from stepwell.workflows w join stepwell.workflow_steps s using (workflow_id)")
    expect(times).to eq("00:10:00|00:01:30|00:00:01|01:00:00")
  end
end
