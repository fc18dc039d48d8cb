# frozen_string_literal: true

require_relative "faults_helper"

# Whoever runs the database limits how long a statement, or its wait for a lock, may take, for everybody who logs in.
RSpec.describe "lock_timeout and statement_timeout of the database, and somebody who locks its tables", :faults do
  holds, hold = Specs::Faults.sized(short: [1, 0.6], full: [10, 1.5])
  tables = %w[stepwell.tasks stepwell.steps stepwell.claims pgmq.q_step_results pgmq.q_task_requests]

  # Holds a lock that nobody can write beside for longer than anybody may wait.
  def lock(table, seconds)
    other = session
    other.run("set lock_timeout = 0; set statement_timeout = 0; begin; lock table #{table} in share mode;")
    report.fault
    IO.select(nil, nil, nil, seconds)
    other.run("rollback;")
    other.close
  end

  it "make calls fail and be tried again, and nothing is lost, buried or done twice" do
    name = psql("select current_database()").strip
    psql("alter database #{name} set lock_timeout = '100ms'; alter database #{name} set statement_timeout = '300ms'")
    crew(known: %i[trouble recovered refused given_back])
    crew.muster(orchestrator: 2, worker: 2)
    client = start_load
    progress
    holds.times do
      tables.each do |table|
        lock(table, hold)
        progress
      end
    end
    report.note(client_errors: end_load(client))
    lost = holds * tables.size * 2 * Specs::Faults::HELD_BY_WORKER
    conclude(again: lost, leases: lost, trouble: holds * tables.size * Specs::Faults::Log::TROUBLE_PER_OUTAGE)
  end
end
