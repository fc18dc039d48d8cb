# frozen_string_literal: true

require "spec_helper"

RSpec.describe Stepwell::Orchestrator do
  it "runs until it is stopped, and a second stop is harmless" do
    orchestrator = described_class.embedded(database_url: database_url)
    expect(orchestrator).to be_running
    expect(orchestrator.inspect).to eq("#<Stepwell::Orchestrator #{database_url} running>")
    2.times { orchestrator.stop }

    expect(orchestrator).not_to be_running
    expect(orchestrator.status).to include(running: false)
    expect(orchestrator.inspect).to end_with(" stopped>")
    expect(psql("select count(*) from pg_stat_activity where application_name = 'stepwell' and datname = " \
                "current_database()")).to eq("0")
  end

  it "stops at the end of a block, returns what the block does, and stops when the block raises" do
    seen = nil
    value = described_class.embedded(database_url: database_url) { |orchestrator| (seen = orchestrator).running? }
    expect(value).to be(true)
    expect(seen).not_to be_running
    expect { described_class.embedded(database_url: database_url) { |it| raise KeyError, (seen = it).inspect } }
      .to raise_error(KeyError, /running/)
    expect(seen).not_to be_running
  end

  it "stops the workers that share its database with it, after what they execute" do
    gate = Queue.new
    define_single { |_| gate.pop }
    worker = task = nil
    described_class.embedded(database_url: database_url) do |orchestrator|
      worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 1, orchestrator: orchestrator).start
      task = orchestrator.submit("spec/single")
      eventually { gate.num_waiting == 1 }
      gate << "done"
    end

    expect(worker).not_to be_running
    start_orchestrator # applies the result if the stopped one could not any more
    expect(Stepwell.task(task.id).wait(timeout: 20).result("only")).to eq("done")
    expect(Specs::Steps.executed.count { |id, _| id == task.id }).to eq(1)
  end

  it "tells its state, its database without credentials, and what it has done" do
    define_single { |step| step.context["n"] || raise(Stepwell::PermanentError, "no n") }
    orchestrator = start_orchestrator
    start_worker
    [{ n: 1 }, {}].each { |context| orchestrator.submit("spec/single", context).wait(timeout: 20) }
    status = orchestrator.status

    expect(status).to include(running: true, database: database_url)
    expect(status[:uptime]).to be > 0
    expect(status[:summary]).to include(tasks_started: 2, tasks_finished: 2, steps_completed: 1, steps_failed: 1,
                                        steps_retried: 0, dead_letters: 0, stale_results: 0)
    expect(status[:summary][:cycles]).to be >= 1
  end

  it "has a URL that works with psql" do
    expect(psql("select current_database()", url: start_orchestrator.database_url)).to match(/\Aspecs_\d+\z/)
  end

  it "migrates an empty database, from many processes at once" do
    psql("create database empty")
    url = database_url.sub(%r{/\w+\?}, "/empty?")
    script = 'puts "ready"; $stdin.gets; Stepwell::Orchestrator.embedded { |it| puts it.running? }'
    processes = Array.new(3) { run_ruby(script, env: { "DATABASE_URL" => url }) }
    processes.each { |process| expect(process.gets).to eq("ready") }
    processes.each { |process| process.puts("go") }
    expect(processes.map(&:gets)).to eq(%w[true] * 3)
    processes.each { |process| expect(process.wait).to be_success }
    versions = "select string_agg(version::text, ',' order by version) from stepwell._sqlx_migrations where success"

    expect(psql(versions, url: url)).to eq(psql(versions))
    psql("drop database empty with (force)")
  end

  it "isolates two databases in one process from each other" do
    define_single { |step| step.context["of"] }
    urls = [database_url, new_database]
    orchestrators = urls.map { |url| start_orchestrator(url: url) }
    workers = orchestrators.map { |orchestrator| start_worker("spec", orchestrator: orchestrator) }
    tasks = orchestrators.each_with_index.map do |orchestrator, n|
      Array.new(20) { orchestrator.submit("spec/single", { of: n }, idempotency_key: "same-#{_1}") }
    end
    tasks.each { |list| Stepwell.wait_all(list, timeout: 30) }

    tasks.each_with_index do |list, n|
      expect(list.map { |task| task.result(:only) }).to all(eq(n))
      expect(list.flat_map { |task| task.steps.map(&:worker) }.uniq).to eq([workers[n].id])
      expect(psql("select count(*) from stepwell.tasks", url: urls[n])).to eq("20")
    end
    expect { Stepwell.connection(urls[0]).then { |it| Stepwell::Task.new(it, tasks[1].first.id).refresh } }
      .to raise_error(Stepwell::ValidationError, /there is no task/)
    [workers[0], orchestrators[0]].each(&:stop)
    expect(orchestrators[1].submit("spec/single", { of: 7 }).wait(timeout: 20).result(:only)).to eq(7)
  end

  it "shares the work when several run on one database" do
    define_single { |step| step.context["n"] }
    orchestrators = Array.new(3) { start_orchestrator }
    start_worker
    tasks = Stepwell.submit_all(Array.new(300) { |n| { workflow: "spec/single", context: { n: n } } })
    Stepwell.wait_all(tasks, timeout: 30)

    summaries = orchestrators.map { |orchestrator| orchestrator.status[:summary] }
    expect(summaries.sum { |summary| summary[:steps_completed] }).to eq(300)
    expect(psql("select count(*) from stepwell.steps where state = 'complete'")).to eq("300")
    expect(Specs::Steps.executed.size).to eq(300)
  end

  it "refuses a database of a newer Stepwell" do
    psql("insert into stepwell._sqlx_migrations select 9999, description, now(), true, checksum, 0 " \
         "from stepwell._sqlx_migrations limit 1")
    message = /schema in the database is at migration 9999, this program knows up to \d+: upgrade this program/

    expect { described_class.embedded(database_url: database_url) }.to raise_error(Stepwell::DatabaseError, message)
    expect { Stepwell::Worker.new(namespaces: "spec", database_url: database_url).start }
      .to raise_error(Stepwell::DatabaseError, message)
  end

  it "refuses a database whose migrations were others, instead of failing at every call" do
    psql("update stepwell._sqlx_migrations set checksum = 'another' where version = 9")
    message = /was made by another build of this program \(migration 9 differs\): use a new database/

    expect { described_class.embedded(database_url: database_url) }.to raise_error(Stepwell::DatabaseError, message)
    expect { Stepwell::Worker.new(namespaces: "spec", database_url: database_url).start }
      .to raise_error(Stepwell::DatabaseError, message)
  end
end
