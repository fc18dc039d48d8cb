# frozen_string_literal: true

require "spec_helper"

RSpec.describe "the delay before the next attempt" do
  hour = { base: 3600, cap: 3600, jitter: 0 }

  # Runs a workflow with a step for each of these deeds until each has failed once.
  # @return [Array<Float>] how many seconds each step waits
  def delays_after(*deeds, backoff: { base: 100, cap: 3600, jitter: 0 })
    handlers = deeds.map { |deed| handler(&deed) }
    Stepwell.workflow("spec/delays") do
      handlers.each_with_index { |code, n| step("s#{n}", code, backoff: backoff) }
    end
    start_stepwell
    task = Stepwell.submit("spec/delays")
    eventually { task.refresh.steps.any? && task.steps.all?(&:run_at) }
    task.steps.map { |step| delay_of(step) }
  end

  def delay_of(step)
    expect(step.state).to be(:waiting_for_retry)
    step.run_at - step.finished_at
  end

  # What an orchestrator adds to a delay: it counts from when the failure is applied.
  def seconds(delay)
    be_between(delay, delay + 20)
  end

  # Does what asks for another attempt then.
  def asking(retry_after, **metadata)
    lambda do |step|
      step.metadata.update(metadata)
      raise Stepwell::RetryableError.new("busy", retry_after: retry_after)
    end
  end

  # Lets the next attempt of the step that waits begin now.
  def make_due
    psql("update stepwell.steps set run_at = now() where run_at is not null; " \
         "update stepwell.step_timers set due_at = now()")
  end

  it "is doubled each time up to the cap, until max_attempts are used up" do
    define_single(max_attempts: 4, backoff: { base: 100, cap: 250, jitter: 0 }) { |step| raise step.attempt.to_s }
    start_stepwell
    task = Stepwell.submit("spec/single")
    delays = (1..3).map do |attempt|
      step = eventually { task.refresh.steps.find { |it| it.attempts.size == attempt } }
      delay_of(step).tap { make_due }
    end

    expect(delays).to match([seconds(100), seconds(200), seconds(250)])
    step = task.wait(timeout: 20).steps.first
    expect(step).to have_attributes(state: :error, attempt: 4, max_attempts: 4, run_at: nil)
    expect(step.attempts.map { |it| it.values_at("attempt", "message") })
      .to eq([[1, "1"], [2, "2"], [3, "3"], [4, "4"]])
  end

  it "is shortened by a random share of up to the jitter" do
    deeds = [->(_) { raise "no" }] * 10
    delays = delays_after(*deeds, backoff: { base: 1000, cap: 1000, jitter: 0.5 })

    expect(delays).to all(be_between(500, 1020))
    expect(delays.map(&:round).uniq.size).to be > 5
    expect(delays.max - delays.min).to be > 50
  end

  it "is 1 s, shortened by up to a fifth, where the step says nothing" do
    define_single { |step| step.attempt == 2 ? "done" : raise("no") }
    start_stepwell
    step = Stepwell.submit("spec/single").wait(timeout: 30).steps.first

    expect(step.started_at - step.attempts.last["finished_at"]).to be_between(0.8, 5)
  end

  it "is what retry_after says: an Integer, a Float, a text, a Time, a text with an HTTP date" do
    moment = Time.now + 1000
    expect(delays_after(asking(500), asking(500.5), asking(" 200 "), asking("300.5"), asking(moment),
                        asking(moment.getlocal("+09:00")), asking(moment.httpdate), asking(nil)))
      .to match([seconds(500), seconds(500.5), seconds(200), seconds(300.5), be_within(20).of(1000),
                 be_within(20).of(1000), be_within(20).of(1000), seconds(100)])
  end

  it "is what any number and whatever answers to_time say; what is below nothing is none" do
    moment = Time.now + 1000
    ours = Class.new { define_method(:to_time) { moment } }.new
    expect(delays_after(asking(Rational(1001, 2)), asking(BigDecimal("400.5")), asking(moment.to_datetime),
                        asking(ours), asking(moment.to_date + 36_500), asking(Time.at(2**60)), asking(Float::INFINITY),
                        asking(nil, backoff_hint: { type: "ours", delay: moment.to_datetime })))
      .to match([seconds(500.5), seconds(400.5), be_within(20).of(1000), be_within(20).of(1000), seconds(3600),
                 seconds(3600), seconds(3600), be_within(20).of(1000)])
    expect(Stepwell::Delay.of(-5)).to eq(0)
    expect(Time.httpdate(Stepwell::Delay.of(DateTime.new(-4000)))).to eq(Time.at(0))
  end

  it "is told to be none, by name and value, and then is the step's" do
    lines = logged
    broken = Class.new { define_method(:to_time) { "tomorrow" } }.new
    asked = ["soon", "Sunday", Float::NAN, Object.new, [5], broken, Complex(1, 1)]
    expect(delays_after(*asked.map { |it| asking(it) }, asking(nil, backoff_hint: { "delay" => "later" })))
      .to all(seconds(100))

    told = lines.string.lines.grep(/WARN.* STEP retry_after: .* is no number of seconds/)
    expect(told.size).to eq(8)
    expect(told).to include(/: "soon" is no .* such header; it is not heeded task=\S+ step=s0 attempt=1$/)
  end

  it "is the time or the duration of ActiveSupport that was asked for" do
    run = run_ruby(<<~RUBY)
      require "active_support"
      require "active_support/time"
      Time.zone = "Tokyo"
      asked = [Time.zone.now + 500, 300.seconds, 5.minutes.from_now, Date.tomorrow + 36_500, "200"]
      code = Class.new(Stepwell::StepHandler) do
        define_method(:call) { |it| raise Stepwell::RetryableError.new("busy", retry_after: asked[it.context["n"]]) }
      end
      Stepwell.workflow("spec/asking") { step :only, code, backoff: { base: 9, cap: 1000, jitter: 0 } }
      Stepwell::Orchestrator.embedded do
        worker = Stepwell::Worker.new(namespaces: "spec").start
        tasks = Stepwell.submit_all(asked.each_index.map { |n| { workflow: "spec/asking", context: { n: n } } })
        delays = tasks.map do |task|
          step = nil
          Thread.pass until (step = task.refresh.steps.first) && step.run_at
          (step.run_at - step.attempts[0]["finished_at"]).round(-2)
        end
        puts delays.inspect
        worker.stop
      end
    RUBY
    expect(run.gets).to eq([500, 300, 300, 1000, 200].inspect)
    expect(run.wait).to be_success
  end

  it "ends at the moment that was asked for, and not in the second before" do
    moment = nil
    define_single(backoff: hour) do |step|
      step.attempt == 2 ? Time.now.to_f : asking(moment = Time.now + 0.6).call(step)
    end
    start_stepwell

    expect(Stepwell.submit("spec/single").wait(timeout: 30).result(:only)).to be >= moment.to_f
  end

  it "is nothing when the moment has passed" do
    define_single(backoff: hour) do |step|
      past = [Time.now - 5000, "Sun, 06 Nov 1994 08:49:37 GMT", 0][step.attempt - 1]
      raise Stepwell::RetryableError.new("busy", retry_after: past) if past && step.attempt < 3

      step.attempt
    end
    start_stepwell

    expect(Stepwell.submit("spec/single").wait(timeout: 30).result(:only)).to eq(3)
  end

  it "is what the metadata says: a hint before the header Retry-After, and the error before both" do
    logged # of "soon"
    hint = { type: "rate_limit", delay: 500 }
    header = { "retry-AFTER" => "300" }
    expect(delays_after(asking(nil, backoff_hint: hint), asking(nil, headers: header), asking(50, backoff_hint: hint),
                        asking(nil, backoff_hint: hint, headers: header), asking("soon", backoff_hint: hint),
                        asking(nil, status: 503, headers: { "Retry-After" => (Time.now + 1000).httpdate }),
                        asking(nil, status: 200, headers: header), asking(nil, backoff_hint: { type: "overload" })))
      .to match([seconds(500), seconds(300), seconds(50), seconds(500), seconds(500), be_within(20).of(1000),
                 seconds(100), seconds(100)])
  end

  it "is the metadata's also when another error is raised" do
    noting = lambda do |step|
      step.metadata["backoff_hint"] = { "type" => "rate_limit", "delay" => "500" }
      raise IOError, "no Stepwell error at all"
    end
    expect(delays_after(noting)).to match([seconds(500)])
  end

  it "never goes beyond the cap, however it is asked for" do
    far = Time.now + 1_000_000
    expect(delays_after(asking(900), asking(1e9), asking("900"), asking(far), asking(far.httpdate),
                        asking(nil, backoff_hint: { type: "rate_limit", delay: 900 }),
                        asking(nil, headers: { "Retry-After" => "900" }),
                        backoff: { base: 10, cap: 200, jitter: 0 })).to all(seconds(200))
  end
end
