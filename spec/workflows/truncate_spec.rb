# frozen_string_literal: true

require "spec_helper"

# What database_cleaner does between two tests of an application whose process has an orchestrator and a worker.
RSpec.describe "a truncation of all tables of the schema" do
  def truncate
    tables = psql("select string_agg('stepwell.' || quote_ident(tablename), ', ') from pg_tables
                    where schemaname = 'stepwell' and tablename <> '_sqlx_migrations'")
    psql("truncate #{tables} cascade")
  end

  def expect_complete(count)
    tasks = Stepwell.submit_all(Array.new(count) { |n| { workflow: "spec/chain", context: { "n" => n } } })
    Stepwell.wait_all(tasks, timeout: 30)
    expect(tasks.map(&:state).tally).to eq(complete: count)
    expect(tasks.map { |task| task.results["two"] }).to eq(Array.new(count) { |n| n + 1 })
  end

  before do
    one = handler { |step| step.context["n"] }
    two = handler { |step| step.results["one"] + 1 }
    Stepwell.workflow("spec/chain") do
      step :one, one
      step :two, two, depends_on: :one
    end
    start_stepwell
  end

  it "leaves definitions and settings, and the next tasks complete without a restart" do
    settings = "select * from stepwell.dispatch_settings"
    before = psql(settings)
    3.times do
      expect_complete(20)
      truncate
      expect(psql("select count(*) from stepwell.tasks")).to eq("0")
      expect(psql("select count(*) from stepwell.workflows")).to eq("1")
      expect(psql(settings)).to eq(before)
    end
    expect_complete(20)
  end

  it "while steps are executed takes these away, and nothing else" do
    lines = logged
    gate = Queue.new
    started = Queue.new
    define_single("held") { |_| (started << true) && gate.pop }
    held = Array.new(3) { Stepwell.submit("spec/held") }
    3.times { started.pop }
    truncate
    3.times { gate << true }
    expect_complete(20)
    held.each { |task| expect { task.refresh }.to raise_error(Stepwell::ValidationError, /there is no task/) }
    expect(lines.string.scan("the lease on the step was lost, its result does not count").size).to eq(3)
  end
end
