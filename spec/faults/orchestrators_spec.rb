# frozen_string_literal: true

require_relative "faults_helper"

RSpec.describe "four orchestrators, of which one after the other is killed and replaced", :faults do
  def start_bystander
    crew.start(:orchestrator, DATABASE_URL: @elsewhere ||= new_database)
  end

  def dismiss(orchestrators)
    orchestrators.each(&:ready).each(&:close).each(&:ended)
  end

  # What one gives, while those of another database are killed and replaced: what that takes of this machine must
  # not count against the four.
  def steps_per_second_of_one(seconds, every)
    bystanders = Array.new(3) { start_bystander }.each(&:ready)
    rate = steps_per_second do
      repeatedly(seconds, every: every) do
        bystanders.delete_at(random.rand(bystanders.size)).tap(&:ready).kill
        bystanders << start_bystander
      end
    end
    dismiss(bystanders)
    rate
  end

  def steps_per_second_of_four(seconds, every)
    crew.muster(orchestrator: 3)
    rate = steps_per_second do
      repeatedly(seconds, every: every) do
        crew.replace(:orchestrator, random)
        report.fault
      end
    end
    dismiss(crew.all(:orchestrator).drop(1))
    rate
  end

  it "do not fall below what one gives, lose nothing and never deadlock" do
    crew(known: %i[recovered], STEPWELL__WORKER__LEASE: "3s")
    crew.muster(orchestrator: 1, worker: 2)
    client = start_load
    progress
    storm, every, least = Specs::Faults.sized(short: [3, 0.3..0.7, 0.5], full: [30, 1.0..4.0, 0.7])
    # One before and after: tables grow, and vacuum comes to them, whoever orchestrates.
    before = steps_per_second_of_one(storm, every)
    together = steps_per_second_of_four(storm, every)
    after = steps_per_second_of_one(storm, every)
    report.note(steps_per_second_of_one: [before, after], steps_per_second_of_four_under_kills: together)
    expect(together).to be > (before + after) / 2 * least # coarse: a new process has all of its plans still to make
    expect(end_load(client)).to eq(0)
    conclude(again: 0)
  end
end
