# frozen_string_literal: true

require_relative "faults_helper"

RSpec.describe "kill -9", :faults do
  # Kills under load until the time is over, then lets the load end.
  # @return [Hash{Symbol => Integer}] kills by role
  def kill_for(seconds, every, roles)
    crew.muster(**(roles == %i[embedded] ? { embedded: 2 } : { orchestrator: 2, worker: 2 }))
    client = start_load
    victims = []
    repeatedly(seconds, every: every) do
      victims << crew.replace(roles.sample(random: random), random).role
      report.fault
    end
    expect(end_load(client)).to eq(0)
    victims.tally
  end

  { "a worker" => %i[worker], "an orchestrator" => %i[orchestrator], "either" => %i[worker orchestrator],
    "an orchestrator with its worker" => %i[embedded] }.each do |title, roles|
    it "of #{title}, every few seconds and replaced each time, loses nothing and applies nothing twice" do
      crew(known: %i[recovered], HANDLER_MS: "10-30", STEPWELL__WORKER__LEASE: roles == %i[orchestrator] ? "3s" : "1s")
      seconds, every = Specs::Faults.sized(short: [3, 0.3..0.7], full: [45, 1.0..4.0])
      kills = kill_for(seconds, every, roles)
      conclude(again: kills.values_at(:worker, :embedded).compact.sum * Specs::Faults::HELD_BY_WORKER)
    end
  end
end
