# frozen_string_literal: true

require_relative "faults_helper"

RSpec.describe "a join whose results arrive in many batches at four orchestrators", :faults do
  width, tasks = Specs::Faults.sized(short: [200, 3], full: [1_000, 5])
  batches = { STEPWELL__ORCHESTRATOR__RESULT_BATCH: "5", STEPWELL__WORKER__REPORT_BATCH: "3" }

  it "runs exactly once" do
    crew(WORKFLOWS: "wide", WIDTH: width.to_s, HANDLER_MS: "0-2", **batches)
    # As when messages pile up: nobody leaves them to another.
    psql("create or replace function stepwell.others_apply() returns boolean language sql as 'select false'")
    *orchestrators, client = crew.muster(orchestrator: 4, client: 1)
    crew.muster(worker: 3)
    report.lasting_fault(orchestrators.size)
    client.puts("feed 2000000 #{tasks}")
    expect(client.gets(120)).to eq("fed #{tasks} 0")

    expect(File.readlines(crew.notes).map { |line| line.split[1] }.tally["join"]).to eq(tasks)
    conclude(again: 0)
    applied = orchestrators.map { |orchestrator| orchestrator.gets[/\Aapplied (\d+)\z/, 1].to_i }
    expect(applied.sum).to eq(tasks * (width + 1))
    expect(applied).to all be_positive # each had its share
  end
end
