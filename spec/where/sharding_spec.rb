# frozen_string_literal: true

require "spec_helper"
require_relative "support/two_clusters"

# Namespaces on databases of their own: two real servers, and what becomes of each when the other is away.
RSpec.describe "namespaces on two clusters" do
  include Specs::TwoClusters

  before(:context) { Specs::TwoClusters.start }
  after(:context) { Specs::TwoClusters.destroy }
  before { configure }

  trouble = /\A(.*WARN DATABASE (trouble, trying again until it is over|a database is away).*\n)+\z/

  it "puts tasks where their namespace lives, and waits for all of them with one call" do
    define_everywhere("shop", "billing", "ledger") { |step| step.context["n"] }
    orchestrator = orchestrate
    start_worker("shop", "billing", "ledger", database_url: nil)
    names = %w[billing shop ledger shop]
    tasks = Stepwell.submit_all(Array.new(80) { |n| { workflow: "#{names[n % 4]}/single", context: { n: n } } })
    seen = []
    Stepwell.wait_all(tasks, timeout: 30) { |finished, total| seen << [finished, total] }

    expect(seen.last).to eq([80, 80])
    expect(tasks.map(&:workflow)).to eq(Array.new(80) { |n| "#{names[n % 4]}/single" })
    expect(tasks.map { |task| task.result(:only) }).to eq((0..79).to_a)
    expect(tasks_by_database).to eq([{ "shop" => 40 }, { "billing" => 20, "ledger" => 20 }])
    registered = urls.map { |url| psql("select namespace from stepwell.workflows order by 1", url: url).split }
    expect(registered).to eq([%w[shop], %w[billing ledger]])
    expect(Stepwell.queues.map(&:namespace)).to eq(%w[billing ledger shop])
    expect(Stepwell.queues.map(&:database)).to eq(urls.values_at(1, 1, 0))
    expect(orchestrator.status).to include(
      database: urls[0], summary: include(tasks_finished: 80), queues: have_attributes(size: 3),
      databases: [include(database: urls[0], namespaces: [], running: true, summary: include(tasks_finished: 40)),
                  include(database: urls[1], namespaces: %w[billing ledger], running: true)]
    )
    expect_all_complete
  end

  it "finds a task by its id from another process, and does there what is to be done" do
    define_everywhere("shop", "billing", max_attempts: 1) { |step| step.context["fail"] ? raise("no") : 1 }
    orchestrate
    tasks = %w[shop billing].map { |name| Stepwell.submit("#{name}/single", {}, idempotency_key: "once") }
    again = %w[shop billing].map { |name| Stepwell.submit("#{name}/single", {}, idempotency_key: "once") }
    expect(again.map(&:id)).to eq(tasks.map(&:id))
    run = run_ruby(<<~RUBY, env: variables)
      while (line = $stdin.gets)
        id, call = line.split
        task = Stepwell.task(id)
        task.public_send(call, **(call == "wait" ? { timeout: 20 } : { reason: "enough" }))
        puts [task.workflow, task.refresh.state, *task.events.map(&:kind)].join(" ")
      end
    RUBY
    run.puts("#{tasks[1].id} cancel")
    expect(run.gets).to eq("billing/single cancelled cancel")
    expect(tasks[1].wait(timeout: 20).state).to be(:cancelled)
    start_worker("shop", "billing", database_url: nil)
    run.puts("#{tasks[0].id} wait")
    expect(run.gets).to eq("shop/single complete")
    failed = Stepwell.submit("billing/single", { fail: true }).wait(timeout: 20)
    expect(failed.state).to be(:error)
    run.puts("#{failed.id} retry")
    expect(run.gets).to match(%r{\Abilling/single (in_progress|error) retry\z})
    expect(failed.wait(timeout: 20).resolve(:only, result: 7).state).to be(:resolved)
    expect { Stepwell.task("0190b5a0-0000-7000-8000-000000000000") }
      .to raise_error(Stepwell::ValidationError, /there is no task/)
    expect(run.wait).to be_success
  end

  it "orders by priority, pauses and limits on the database of the namespace" do
    gate = Queue.new
    define_everywhere("shop", "billing") { |_| gate.pop }
    narrow = { "STEPWELL__DISPATCH__WINDOW" => "1", "STEPWELL__WORKER__CLAIM_BATCH" => "1" }
    with_variables(narrow) do
      orchestrate
      start_worker("billing", concurrency: 1, database_url: nil)
    end
    first = Stepwell.submit("billing/single")
    eventually { gate.num_waiting == 1 }
    queued = Stepwell.submit("billing/single")
    eventually { Stepwell.queues.find { |it| it.namespace == "billing" }&.queued == 1 }
    low, urgent = %i[low urgent].map { |level| Stepwell.submit("billing/single", {}, priority: level) }
    eventually { Stepwell.queues.find { |it| it.namespace == "billing" }.ready == 2 }
    4.times { gate << 1 }
    Stepwell.wait_all([first, queued, low, urgent], timeout: 20)
    expect(Specs::Steps.executed.map(&:first).last(2)).to eq([urgent.id, low.id])

    expect(Stepwell.pause("billing", reason: "an incident")).to be(true)
    expect(Stepwell.paused).to eq(["billing"])
    expect(psql("select reason from stepwell.task_events where kind = 'pause'", url: urls[1])).to eq("an incident")
    expect(Stepwell.resume("billing")).to be(true)
    Stepwell.limit("billing", concurrency: 2)
    expect(Stepwell.queues.find { |it| it.namespace == "billing" }.concurrency).to eq(2)
    expect_all_complete
  end

  it "lists dead letters of both, and puts each back where it was" do
    orchestrate
    letters = [0, 1, 1, 0].each_with_index.map do |place, n|
      psql("select pgmq.send('task_requests', '[#{n}]')", url: urls[place])
      eventually { Stepwell.dead_letters.size == n + 1 }
      Stepwell.dead_letters.first
    end
    expect(letters.map(&:message)).to eq([[0], [1], [2], [3]])
    expect(letters.map(&:database)).to eq(urls.values_at(0, 1, 1, 0))
    expect(letters[0].id).to eq(letters[1].id)
    pages = [Stepwell.dead_letters(limit: 1)]
    pages << Stepwell.dead_letters(limit: 1, before: pages.last.last) until pages.last.empty?
    expect(pages.flatten).to eq(letters.reverse)

    expect { Stepwell.replay(letters[0].id) }
      .to raise_error(Stepwell::ValidationError, /#{letters[0].id} is in several databases: give the letter itself/)
    expect { Stepwell.dead_letters(before: letters[3].id) }.to raise_error(Stepwell::ValidationError, /give the letter/)
    expect(Stepwell.replay(letters[1])).to eq([letters[1].id])
    back = eventually { Stepwell.dead_letters.find { |it| it.message == [1] && it.id > letters[2].id } }
    expect(back.database).to eq(urls[1])
    expect(Stepwell.dead_letters.size).to eq(4)
  end

  it "shares the threads of one worker between the clusters, and neither waits until the other is empty" do
    lock = Mutex.new
    now = most = 0
    define_everywhere("shop", "billing") do |_|
      lock.synchronize { most = [most, now += 1].max }
      IO.select(nil, nil, nil, 0.01)
      lock.synchronize { now -= 1 }
    end
    orchestrate
    flood = submit("shop", 300)
    few = submit("billing", 30)
    start_worker("shop", "billing", database_url: nil, concurrency: 3)
    Stepwell.wait_all(few, timeout: 30)
    expect(flood.last.refresh.state).to be(:in_progress)
    Stepwell.wait_all(flood, timeout: 60)
    last_of_few = Specs::Steps.executed.rindex { |id, _| id == few.last.id }
    expect(most).to eq(3)
    expect(last_of_few).to be < 120 # half of the places until the smaller one is empty: about 60
    expect_all_complete
  end

  it "goes on with the one cluster while the other is stopped, and loses nothing" do
    gate = Queue.new
    define_everywhere("shop", "billing") { |step| step.context["held"] ? gate.pop : step.context["n"] }
    server = Specs::TwoClusters.servers[1]
    early = late = held = nil
    expect do
      orchestrate
      start_worker("shop", "billing", database_url: nil, concurrency: 4)
      held = submit("billing", 1, held: true).first
      eventually { gate.num_waiting == 1 }
      early = submit("billing", 200)
      server.stop("fast")
      begin
        20.times { |n| expect(Stepwell.submit("shop/single", { n: n }).wait(timeout: 10).result(:only)).to eq(n) }
        gate << 7 # its result waits for the database
        expect { Stepwell.submit("billing/single") }.to raise_error(Stepwell::DatabaseError)
      ensure
        server.start
      end
      late = submit("billing", 20)
      Stepwell.wait_all([held, *early, *late], timeout: 90)
    end.to output(trouble).to_stderr_from_any_process

    expect(held.result(:only)).to eq(7)
    expect(held.steps.first.attempt).to eq(1)
    expect(early.map { |task| task.result(:only) }).to eq((0..199).to_a)
    expect(tasks_by_database).to eq([{ "shop" => 20 }, { "billing" => 221 }])
    expect_all_complete
  end

  it "starts without a cluster that is away, and takes it up when it is there" do
    define_everywhere("shop", "billing") { |step| step.context["n"] }
    urls
    server = Specs::TwoClusters.servers[1]
    expect do
      server.stop("fast")
      begin
        orchestrator = orchestrate
        expect(orchestrator.status[:databases].map { |it| it[:running] }).to eq([true, false])
        start_worker("shop", "billing", database_url: nil)
        expect(Stepwell.submit("shop/single", { n: 1 }).wait(timeout: 10).result(:only)).to eq(1)
      ensure
        server.start
      end
      eventually(60) { orchestrator.status[:databases].all? { |it| it[:running] } }
      # The workflow is registered by now or soon: a submit by SQL finds it.
      eventually(60) { psql("select count(*) from stepwell.workflows", url: urls[1]) == "1" }
      expect(Stepwell.submit("billing/single", { n: 2 }).wait(timeout: 60).result(:only)).to eq(2)
    end.to output(trouble).to_stderr_from_any_process
    expect_all_complete
  end

  it "starts without the default cluster too" do
    define_everywhere("shop", "billing") { |step| step.context["n"] }
    urls
    server = Specs::TwoClusters.servers[0]
    expect do
      server.stop("fast")
      begin
        orchestrate
        start_worker("billing", "shop", database_url: nil)
        expect(Stepwell.submit("billing/single", { n: 1 }).wait(timeout: 10).result(:only)).to eq(1)
      ensure
        server.start
      end
      eventually(60) { psql("select to_regclass('stepwell.workflows') is not null", url: urls[0]) == "t" }
      eventually(60) { psql("select count(*) from stepwell.workflows", url: urls[0]) == "1" }
      expect(Stepwell.submit("shop/single", { n: 2 }).wait(timeout: 60).result(:only)).to eq(2)
    end.to output(trouble).to_stderr_from_any_process
    expect_all_complete
  end

  describe "settings" do
    it "that are wrong are refused, named, and without passwords" do
      secret = "postgres://app:s3cret@here:port/b"
      { "DATABASE_URL" => ["billing", /BILLING__DATABASE_URL: .*database_url = billing: is no PostgreSQL URL/],
        "DATABASE_URI" => [urls[1], /database_uri/],
        "DIRECT_URL" => [secret, %r{direct_url = postgres://app:\*\*\*@here:port/b: has a port that is no number}] }
        .each do |name, (value, message)|
          Stepwell.configure { |c| c.namespaces = name == "DIRECT_URL" ? { billing: urls[1] } : nil }
          with_variables("STEPWELL__NAMESPACES__BILLING__#{name}" => value) do
            expect { Stepwell.configuration.load }.to raise_error(Stepwell::ConfigurationError, message)
          end
        end
      expect { Stepwell.configure { |c| c.namespaces = { "Billing" => urls[1] } } }
        .to raise_error(Stepwell::ConfigurationError, /namespaces.Billing: .*must start with a-z/)
    end

    it "that lead to no database are told at the start" do
      Stepwell.configure { |c| c.namespaces = { billing: urls[1].sub(%r{/\w+\?}, "/nowhere?") } }
      expect { Stepwell::Orchestrator.embedded }.to raise_error(Stepwell::DatabaseError, /"nowhere" does not exist/)
      expect { Stepwell::Worker.new(namespaces: %w[shop billing]).start }
        .to raise_error(Stepwell::DatabaseError, /"nowhere" does not exist/)
    end
  end
end
