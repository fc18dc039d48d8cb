# frozen_string_literal: true

require_relative "faults_helper"

RSpec.describe "a PostgreSQL that crashes", :faults do
  # What was committed is there afterwards: nothing of it is made less durable than PostgreSQL has it by default.
  def expect_durable
    settings = psql("select setting from pg_settings where name in ('fsync', 'synchronous_commit', 'full_page_writes')",
                    url: server.url)
    expect(settings.lines(chomp: true)).to eq(%w[on on on])
  end

  it "loses no acknowledged task, and everybody comes back" do
    expect_durable
    crew(url: server.url, known: %i[trouble recovered refused given_back], STEPWELL__WORKER__LEASE: "1s")
    crew.muster(orchestrator: 2)
    crew.muster(worker: 2)
    client = start_load
    crashes, between, away = Specs::Faults.sized(short: [2, 0.5..1.5, 0.0..0.5], full: [5, 5.0..20.0, 0.0..3.0])
    crashes.times do
      IO.select(nil, nil, nil, random.rand(between))
      server.stop("immediate")
      report.fault
      IO.select(nil, nil, nil, random.rand(away))
      server.start
      progress(url: server.url)
    end
    report.note(client_errors: end_load(client))
    last = File.foreach(crew.acks).count
    submit_again(*Array.new(Specs::Faults.sized(short: 5, full: 20)) { [random.rand(1..(last - 50)), 50] })
    # An outage that is longer than the lease costs two workers what they held.
    conclude(url: server.url, again: crashes * 2 * Specs::Faults::HELD_BY_WORKER,
             trouble: crashes * Specs::Faults::Log::TROUBLE_PER_OUTAGE)
  end
end
