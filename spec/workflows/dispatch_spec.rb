# frozen_string_literal: true

require "spec_helper"

RSpec.describe "dispatch" do
  # So many handlers were in it at the same time.
  def most_at_once
    lock = Mutex.new
    now = 0
    most = 0
    enter = lambda do
      lock.synchronize { most = [most, now += 1].max }
      yield
      lock.synchronize { now -= 1 }
    end
    [enter, -> { most }]
  end

  describe "priorities" do
    it "lets the urgent overtake what waits, by name and by number, and the oldest of a priority go first" do
      gate = Queue.new
      define_single { |_| gate.pop }
      variables = { "STEPWELL__DISPATCH__WINDOW" => "1", "STEPWELL__WORKER__CLAIM_BATCH" => "1" }
      with_variables(variables) { start_stepwell(concurrency: 1) }
      running, queued = Array.new(2) { Stepwell.submit("spec/single") }
      eventually { gate.num_waiting == 1 && Stepwell.queues.first.to_h.slice(:queued, :in_progress).values == [1, 1] }
      order = [:low, 0, :urgent, 1, "normal", :high].map { |level| Stepwell.submit("spec/single", {}, priority: level) }
      eventually { Stepwell.queues.first.ready == 6 }
      low, first, urgent, one, second, high = order
      expect(order.map { |task| task.steps.first.state }).to all(be(:ready))
      8.times { gate << 1 }
      Stepwell.wait_all([running, queued, *order], timeout: 20)
      finished = Specs::Steps.executed.map(&:first).last(6)
      expect(finished.first).to eq(urgent.id)
      expect(finished.last).to eq(low.id)
      expect(finished - [one.id, high.id]).to eq([urgent, first, second, low].map(&:id))
      expect(finished.index(high.id)).to be < finished.index(first.id)
    end
  end

  it "does tasks of one priority strictly by age where one thread executes them, however many wait" do
    gate = Queue.new
    define_single { |step| gate.pop if step.context["wait"] }
    start_stepwell(concurrency: 1)
    tasks = [Stepwell.submit("spec/single", { wait: true })] + Array.new(300) { Stepwell.submit("spec/single") }
    eventually { gate.num_waiting == 1 && Stepwell.queues.first.ready > 100 }
    gate << 1
    Stepwell.wait_all(tasks, timeout: 60)
    expect(Specs::Steps.executed.map(&:first)).to eq(tasks.map(&:id))
  end

  # Twice as much urgent work as can be done, for two seconds. A level is worth 20 ms here, so the low tasks of the
  # beginning give way to what comes within 15 x 20 ms, and to nothing that comes later.
  it "does low-priority tasks within their bound under a standing overload of urgent ones" do
    define_single { |_| IO.select(nil, nil, nil, 0.01) }
    variables = { "STEPWELL__DISPATCH__WINDOW" => "1", "STEPWELL__DISPATCH__BOOST" => "20ms",
                  "STEPWELL__WORKER__CLAIM_BATCH" => "2" }
    with_variables(variables) { start_stepwell(concurrency: 2) }
    tasks = Stepwell.submit_all([{ workflow: "spec/single", context: {}, priority: :urgent }] * 30)
    low = Stepwell.submit_all([{ workflow: "spec/single", context: {}, priority: :low }] * 5)
    40.times do
      tasks += Stepwell.submit_all([{ workflow: "spec/single", context: {}, priority: :urgent }] * 20)
      IO.select(nil, nil, nil, 0.05)
    end
    expect(low.map { |task| task.wait(timeout: 60).state }).to all(be(:complete))
    waiting, overtaken = psql(<<~SQL).split("|").map(&:to_i)
      select count(*) filter (where u.created_at > l.created_at + interval '300 ms'),
             count(*) filter (where u.created_at > l.created_at + interval '300 ms' and us.started_at < l.started_at)
        from (select max(t.created_at) as created_at, max(s.started_at) as started_at
                from stepwell.tasks t join stepwell.steps s using (task_id) where t.priority = -5) l,
             stepwell.tasks u join stepwell.steps us using (task_id)
       where u.priority = 10
    SQL
    expect(waiting).to be > 300 # urgent tasks that came too late to go before the last low one,
    expect(overtaken).to be <= 10 # but for what the queue and the worker held already
    Stepwell.wait_all(tasks, timeout: 60)
  end

  describe "Stepwell.limit" do
    it "keeps a namespace at so many steps at a time, as long as it says" do
      enter, most = most_at_once { IO.select(nil, nil, nil, 0.005) }
      define_single { |_| enter.call }
      start_stepwell(concurrency: 10)
      Stepwell.limit("spec", concurrency: 3, reason: "a small service", actor: "anna")
      Stepwell.wait_all(Stepwell.submit_all([{ workflow: "spec/single", context: {} }] * 60), timeout: 30)
      expect(most.call).to eq(3)
      expect(Stepwell.queues.first).to have_attributes(namespace: "spec", concurrency: 3, queued: 0, ready: 0)
      Stepwell.limit("spec")
      Stepwell.wait_all(Stepwell.submit_all([{ workflow: "spec/single", context: {} }] * 60), timeout: 30)
      expect(most.call).to be > 3
      expect(psql("select actor, reason, details ->> 'concurrency' from stepwell.task_events where kind = 'limit' " \
                  "order by event_id limit 1")).to eq("anna|a small service|3")
    end

    it "keeps a namespace at a rate" do
      define_single { |_| 1 }
      start_stepwell(concurrency: 10)
      Stepwell.limit("spec", rate: 4, period: 0.5)
      tasks = Stepwell.submit_all([{ workflow: "spec/single", context: {} }] * 16)
      limited = eventually do
        Stepwell.queues.first.then { |queue| queue if queue.waits_for == "the limit of 4 steps in 00:00:00.5" }
      end
      expect(limited).to have_attributes(rate: 4, rate_period: 0.5)
      Stepwell.wait_all(tasks, timeout: 30)
      times = tasks.map { |task| task.steps.first.finished_at }.sort
      expect(times.last - times.first).to be >= 1.0
    end

    it "refuses what is no limit" do
      define_single { |_| 1 }
      start_orchestrator
      refused = { { concurrency: 0 } => /concurrency: 0 must be an Integer from 1/,
                  { rate: 1.5 } => /rate: 1.5 must be an/,
                  { rate: 1, period: 0 } => /period: must be from 100ms to a day/,
                  { rate: 1, period: "1s" } => /period: "1s" is no number of seconds/ }
      refused.each do |limit, message|
        expect { Stepwell.limit("spec", **limit) }.to raise_error(Stepwell::ValidationError, message)
      end
      expect { Stepwell.limit("nowhere", rate: 1) }.to raise_error(Stepwell::ValidationError, /no namespace nowhere/)
    end
  end

  describe "concurrency of a workflow" do
    it "keeps the steps of one customer at its limit while others go on" do
      enter, most = most_at_once { IO.select(nil, nil, nil, 0.005) }
      gate = Queue.new
      define_single(workflow: { concurrency: { key: "customer.id", limit: 2 } }) do |step|
        step.context.dig("customer", "id") == "acme" ? enter.call : gate.pop
      end
      start_stepwell(concurrency: 10)
      contexts = ([{ customer: { id: "acme" } }] * 40) + ([{ customer: { id: "other" } }] * 3)
      tasks = Stepwell.submit_all(contexts.map { |context| { workflow: "spec/single", context: context } })
      eventually { gate.num_waiting == 2 }
      Stepwell.wait_all(tasks.first(40), timeout: 30)
      expect(most.call).to eq(2)
      expect(tasks.last.steps.first.state).to be(:ready)
      expect(Stepwell.queues.first).to have_attributes(keyed: 1, in_progress: 2)
      3.times { gate << 1 }
      Stepwell.wait_all(tasks, timeout: 30)
    end

    it "refuses a key or a limit that is none" do
      expect { define_single(workflow: { concurrency: { key: "a..b", limit: 0 } }) { |_| 1 } }
        .to raise_error(Stepwell::ValidationError, /concurrency.key: must name a .*concurrency.limit: 0 must be/m)
    end
  end

  it "serves each of several namespaces, however full one is" do
    define_single { |_| 1 }
    code = handler { |_| 1 }
    Stepwell.workflow("other/quick") { step :only, code }
    start_orchestrator
    flood = Stepwell.submit_all([{ workflow: "spec/single", context: {} }] * 3_000)
    few = Stepwell.submit_all([{ workflow: "other/quick", context: {} }] * 5)
    start_worker("spec", "other", concurrency: 2)
    Stepwell.wait_all(few, timeout: 20)
    left = flood.last.refresh.state
    Stepwell.wait_all(flood, timeout: 60)
    expect(left).not_to be(:complete)
  end

  it "shows in the orchestrator's status what waits, and for what" do
    define_single { |_| 1 }
    orchestrator = start_orchestrator
    Stepwell.submit_all([{ workflow: "spec/single", context: {} }] * 300)
    eventually { orchestrator.status[:queues].sum { |queue| queue.queued + queue.ready } == 300 }
    expect(orchestrator.status[:queues]).to contain_exactly(
      have_attributes(namespace: "spec", queued: 100, ready: 200, in_progress: 0, waits_for: "a worker")
    )
  end
end
