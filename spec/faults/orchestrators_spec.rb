# frozen_string_literal: true

require_relative "faults_helper"

RSpec.describe "four orchestrators, of which one after the other is killed and replaced", :faults do
  it "do not fall below what one gives, lose nothing and never deadlock" do
    crew(known: %i[recovered], STEPWELL__WORKER__LEASE: "3s")
    crew.muster(orchestrator: 1, worker: 2)
    client = start_load
    progress
    window, storm, every = Specs::Faults.sized(short: [2, 4, 0.3..0.7], full: [20, 45, 1.0..4.0])
    alone = steps_per_second(window)
    crew.muster(orchestrator: 3)
    together = steps_per_second do
      repeatedly(storm, every: every) do
        crew.replace(:orchestrator, random)
        report.fault
      end
    end
    report.note(steps_per_second_of_one: alone, steps_per_second_of_four_under_kills: together)
    expect(together).to be > alone / 2 # coarse on purpose: others work on this machine too, and so do the replacements
    expect(end_load(client)).to eq(0)
    conclude(again: 0)
  end
end
