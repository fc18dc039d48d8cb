# frozen_string_literal: true

require_relative "faults_helper"

RSpec.describe "a handler that holds Ruby's lock for many leases", :faults do
  seconds = Specs::Faults.sized(short: 3.5, full: 60)

  it "keeps its lease, and its result counts" do
    crew(WORKFLOWS: "hog", HOG_MS: (seconds * 1000).to_i.to_s, STEPWELL__WORKER__LEASE: "1s")
    client = crew.muster(orchestrator: 1, client: 1, worker: 2)[1]
    report.lasting_fault
    client.puts("feed 5000000 1")
    expect(client.gets(seconds + 60)).to eq("fed 1 0")

    attempts = session.run("select attempt, extract(epoch from finished_at - started_at) from stepwell.steps;")
    expect(attempts).to contain_exactly(/\A1\|/)
    expect(Float(attempts.first.split("|").last)).to be >= seconds
    conclude(again: 0)
  end
end
