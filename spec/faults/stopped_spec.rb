# frozen_string_literal: true

require_relative "faults_helper"

RSpec.describe "a worker that is stopped in the middle of its steps for longer than its lease", :faults do
  def executions
    File.readlines(crew.notes).size
  end

  def feed(client, first, count)
    client.puts("feed #{first} #{count}")
  end

  it "has its results refused, another's count, and works on" do
    rounds = Specs::Faults.sized(short: 1, full: 5)
    crew(known: %i[recovered refused], STEPWELL__WORKER__LEASE: "1s")
    client = crew.muster(orchestrator: 1, client: 1).last
    first = crew.start(:worker, HANDLER_MS: "400-400").tap(&:ready)
    rounds.times do |round|
      before = executions
      feed(client, (round * 10) + 1, 5)
      eventually { executions == before + 5 } # the first step of each: it is in the middle of five
      first.signal("STOP")
      report.fault
      second = crew.start(:worker).tap(&:ready)
      expect(client.gets).to eq("fed 5 0")
      first.signal("CONT")
      eventually { first.log.lines.grep(/lease on the step was lost/).size == 5 * (round + 1) }
      expect(second.wait).to be_success
    end
    feed(client, rounds * 10, 5)
    expect(client.gets).to eq("fed 5 0") # by the first, which is alone now

    expect(File.readlines(crew.notes, chomp: true).last(20)).to all end_with(" #{first.pid}")
    conclude(again: 5 * rounds)
  end
end
