# frozen_string_literal: true

require_relative "faults_helper"

RSpec.describe "four orchestrators, of which one after the other is killed and replaced", :faults do
  # Orchestrators of another database, of which one after the other is killed and replaced too: what that takes of this
  # machine must not count against the four.
  def bystanders
    @bystanders ||= Array.new(3) { start_bystander }.each(&:ready)
  end

  def start_bystander
    crew.start(:orchestrator, DATABASE_URL: @elsewhere ||= new_database)
  end

  def replace_bystander
    bystanders.delete_at(random.rand(bystanders.size)).tap(&:ready).kill
    bystanders << start_bystander
  end

  def steps_per_second_while(seconds, every, &replace)
    steps_per_second { repeatedly(seconds, every: every, &replace) }
  end

  it "do not fall below what one gives, lose nothing and never deadlock" do
    crew(known: %i[recovered], STEPWELL__WORKER__LEASE: "3s")
    crew.muster(orchestrator: 1, worker: 2)
    client = start_load
    bystanders
    progress
    storm, every, least = Specs::Faults.sized(short: [3, 0.3..0.7, 0.5], full: [30, 1.0..4.0, 0.7])
    alone = steps_per_second_while(storm, every) { replace_bystander }
    bystanders.each(&:ready).each(&:close).each(&:ended)
    crew.muster(orchestrator: 3)
    together = steps_per_second_while(storm, every) do
      crew.replace(:orchestrator, random)
      report.fault
    end
    report.note(steps_per_second_of_one: alone, steps_per_second_of_four_under_kills: together)
    expect(together).to be > alone * least # coarse: short windows, and a new process has all of its plans still to make
    expect(end_load(client)).to eq(0)
    conclude(again: 0)
  end
end
