# frozen_string_literal: true

require_relative "faults_helper"

RSpec.describe "sessions that are terminated several times a second", :faults do
  lease = 2

  def terminate_all
    psql("select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and application_name = 'stepwell'")
    report.fault
  end

  it "cost nothing but time, and throughput is back afterwards" do
    crew(known: %i[trouble recovered refused given_back], STEPWELL__WORKER__LEASE: "#{lease}s")
    crew.muster(orchestrator: 2, worker: 2)
    client = start_load
    progress
    storm, window = Specs::Faults.sized(short: [3, 1], full: [30, 5])
    before = steps_per_second(window)
    repeatedly(storm, every: 0.1..0.3) { terminate_all }
    progress
    # Coarse on purpose: others work on this machine too. A pool that does not recover stays far below.
    after = eventually(20, "a quarter of the throughput before") do
      steps_per_second(window).then { |rate| rate if rate > before / 4 }
    end
    report.note(steps_per_second_before: before, steps_per_second_after: after, client_errors: end_load(client))

    # A worker loses what it holds when no heartbeat comes through for a lease, a claim whose answer was lost expires.
    again = ((storm / lease) + 1) * 2 * Specs::Faults::HELD_BY_WORKER
    conclude(again: again, leases: again + (report.times.size * 2 * 5),
             trouble: report.times.size * Specs::Faults::Log::TROUBLE_PER_OUTAGE)
  end
end
