# frozen_string_literal: true

require_relative "faults_helper"

RSpec.describe "steps that kill their worker each time", :faults do
  poisonous, bystanders = Specs::Faults.sized(short: [2, 100], full: [8, 1_000])
  attempts = 3

  # What a supervisor does until all is over: a worker that has died gets a successor.
  # @return [Integer] deaths
  def supervise(client)
    deaths = 0
    deadline = Specs::Patience.now + 120
    until client.said?
      raise "the tasks did not end: #{psql("select name, state, count(*) from stepwell.steps group by 1, 2")}" if
        Specs::Patience.now > deadline

      crew.all(:worker).select(&:died?).each do
        report.fault
        deaths += 1
        crew.start(:worker)
      end
    end
    deaths
  end

  it "end in error after their attempts, and the pool goes on with the rest" do
    crew(known: %i[recovered failed], STEPWELL__WORKER__LEASE: "1s", WORKFLOWS: "load poison")
    poison, healthy = crew.muster(orchestrator: 1, worker: 2, client: 2).last(2)
    poison.puts("feed 3000000 #{poisonous}")
    healthy.puts("feed 1 #{bystanders}")
    deaths = supervise(poison) + supervise(healthy)
    expect([poison.gets, healthy.gets]).to eq(["fed #{poisonous} 0", "fed #{bystanders} 0"])

    expect(deaths).to be_between(attempts, poisonous * attempts) # two steps can share a death
    errors = psql("select kind, count(*) from stepwell.step_attempts join stepwell.steps using (task_id, position)
                    where name = 'deadly' group by 1")
    expect(errors).to eq("lost_lease|#{poisonous * attempts}")
    conclude(again: deaths * Specs::Faults::HELD_BY_WORKER)
    expect(crew.logs.each_value.sum { |log| log.count(:failed) }).to eq(poisonous)
  end
end
