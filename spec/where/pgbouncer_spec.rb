# frozen_string_literal: true

require "spec_helper"
require_relative "support/pooler"
require_relative "support/programs"

# PgBouncer in transaction mode before the server: no session survives a transaction.
RSpec.describe "PgBouncer in transaction mode" do
  include Specs::WherePrograms

  # Nothing but a wake-up is quick.
  polling = "5s"
  slow = { STEPWELL__ORCHESTRATOR__POLLING_INTERVAL: polling, STEPWELL__WORKER__POLLING_INTERVAL: polling }

  let(:pooler) { Specs::Pooler.new }
  let(:direct) { database_url }
  let(:pooled) { pooler.url(direct[%r{/(\w+)\?}, 1]) }

  after { pooler.stop }

  # @return [String] URL of a database that no migration has seen
  def empty_database
    name = "where_#{Process.pid}_#{rand(1_000_000)}"
    psql("create database #{name}", url: new_database)
    Specs::Cluster.url(name).tap { |url| @databases << url }
  end

  context "with a direct URL" do
    let(:direct) { empty_database }
    let(:env) do
      { DATABASE_URL: pooled, STEPWELL__DATABASE__DIRECT_URL: direct, STEPWELL__WORKER__LEASE: "1s", **slow }
    end

    it "migrates, executes, heartbeats, cancels, and wakes at once" do
      crew = start_crew(**env)
      expect(Array.new(3) { run_tasks(crew.last, 1) }.min).to be < 3 # 1.3 of them in the handler
      run_tasks(crew.last, 200)

      listening = "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen%'"
      expect(psql(listening, url: direct)).to eq("3")
      expect(psql("select count(*) from pg_prepared_statements", url: pooled)).to eq("0")
      finish_crew(*crew)
    end
  end

  it "says so when the direct URL leads to another database" do
    other = new_database
    Stepwell.configure do |config|
      config.database_url = pooled
      config.direct_url = other
    end
    expect { Stepwell::Orchestrator.embedded }
      .to raise_error(Stepwell::ConfigurationError, /direct_url .* leads to another database than database.url/)
  end

  context "without a direct URL" do
    let(:env) { { DATABASE_URL: pooled, STEPWELL__DATABASE__PREPARED_STATEMENTS: "false" } }

    it "works by polling, and each process warns once and says what to set" do
      crew = start_crew(**env)
      run_tasks(crew.last, 20)
      finish_crew(*crew)
      expect(crew.map { |process| process.errors.scan("set database.direct_url").size }).to eq([1, 1, 1])
    end

    it "refuses to migrate, and says what to set" do
      url = empty_database
      pooled = pooler.url(url[%r{/(\w+)\?}, 1])
      run = run_ruby("Stepwell::Orchestrator.embedded", env: { **env, DATABASE_URL: pooled }.transform_keys(&:to_s))
      expect(run.wait).not_to be_success
      expect(run.errors).to match(/cannot migrate: set database.direct_url.*ConfigurationError/)
      expect(psql("select to_regnamespace('stepwell') is null", url: url)).to eq("t")
      start_orchestrator(url: url) # every database is checked at the end, so it needs the schema
    end
  end

  it "says what to set when nothing is set" do
    # Several, because statements must meet on a connection of the pooler, and one alone hardly leaves the one it has.
    env = { "DATABASE_URL" => pooled }
    runs = Array.new(3) { run_ruby("Stepwell::Orchestrator.embedded { $stdin.read }", env: env) }
    eventually(20, "the advice") do
      runs.any? { |run| run.errors.include?("set database.direct_url to the server's own URL") }
    end
    runs.each(&:wait)
  end
end
