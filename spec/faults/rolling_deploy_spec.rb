# frozen_string_literal: true

require_relative "faults_helper"

RSpec.describe "two releases of a workflow with their workers at the same time", :faults do
  first = 1_000_000
  count = Specs::Faults.sized(short: 60, full: 1_000) # every second of them of the new release

  def start_workers(release, number)
    Array.new(number) { crew.start(:worker, WORKFLOWS: release) }.each(&:ready)
  end

  # @return [Array<Integer>] processes that executed the step of this name
  def executed_by(step)
    File.readlines(crew.notes, chomp: true).map(&:split).select { |_, name,| name == step }.map { |note| note[3].to_i }
  end

  it "lose no step, and none runs where its handler is missing" do
    crew(known: %i[unhandled], WORKFLOWS: "", WINDOW: "40", STEPWELL__WORKER__UNHANDLED_DELAY: "1s")
    crew.muster(orchestrator: 1)
    old = start_workers("deploy1", Specs::Faults.sized(short: 1, full: 2))
    fresh = start_workers("deploy2", 2) # which is when the new version is registered
    report.lasting_fault
    client = crew.muster(client: 1).first
    started = Specs::Patience.now
    expect_given_back(client, old, fresh, first)
    client.puts("feed #{first + 2} #{count - 2}")
    expect(client.gets(60)).to eq("fed #{count - 2} 0")
    both = Specs::Patience.now - started
    expect(executed_by("a").uniq).to match_array((old + fresh).map(&:pid)) # the old ones did what they can
    expect(executed_by("c").uniq).to match_array(fresh.map(&:pid))

    old.each { |worker| expect(worker.wait).to be_success }
    client.puts("feed #{first + count} 20")
    expect(client.gets(60)).to eq("fed 20 0")
    expect(executed_by("c") - fresh.map(&:pid)).to be_empty

    expect_bounded_warnings(old, fresh, count / 2, both)
    conclude(again: 0)
  end

  # While the old ones are alone, the new step of a task can only come to one of them.
  def expect_given_back(client, old, fresh, first)
    fresh.each { |worker| worker.signal("STOP") }
    client.puts("feed #{first} 2")
    eventually { old.any? { |worker| worker.log.lines.grep(/no handler for the step/).any? } }
    fresh.each { |worker| worker.signal("CONT") }
    expect(client.gets(60)).to eq("fed 2 0")
  end

  # A step that an old worker gives back stays away from it for a second.
  def expect_bounded_warnings(old, fresh, steps, seconds)
    warnings = (old + fresh).map { |worker| worker.log.lines.grep(/no handler for the step/).size }
    report.note(given_back: warnings.sum)
    expect(warnings.sum).to be_between(1, steps * (seconds + 1))
    expect(warnings.last(fresh.size)).to all eq(0)
  end
end
