# frozen_string_literal: true

require_relative "faults_helper"

# A report that somebody forgot: as long as its snapshot is held, vacuum can remove nothing that died since.
RSpec.describe "a snapshot that is held open under load", :faults do
  seconds, window = Specs::Faults.sized(short: [3, 1], full: [120, 10])

  # Vacuums by hand, so that the moment is known, and tells what it could not remove.
  # @return [Integer] dead rows in the queues' tables
  def dead_after_vacuum
    queues = psql("select 'pgmq.q_' || queue_name from pgmq.meta").lines(chomp: true)
    psql("vacuum #{queues.join(", ")}; select pg_stat_clear_snapshot()")
    psql("select sum(n_dead_tup) from pg_stat_user_tables where schemaname = 'pgmq' and relname like 'q\\_%'").to_i
  end

  it "makes nothing fail and little slow, and the queues are clean after it" do
    crew
    crew.muster(orchestrator: 1, worker: 2)
    client = start_load
    progress
    before = steps_per_second(window)

    reader = session
    reader.run("begin isolation level repeatable read; select count(*) from stepwell.tasks;")
    report.lasting_fault
    rates = Array.new(seconds / window) { steps_per_second(window) }
    held = dead_after_vacuum
    reader.run("commit;")
    expect(end_load(client)).to eq(0)
    drained = eventually(30, "queues without dead rows") do
      dead_after_vacuum.then { |rows| [rows] if rows < held / 100 }
    end

    report.note(held_seconds: seconds, steps_per_second_before: before, steps_per_second_first: rates.first,
                steps_per_second_last: rates.last, dead_rows_held: held, dead_rows_after_vacuum: drained.first)
    expect(held).to be > 100 # or the snapshot held nothing back
    expect(rates.min).to be > before / 10
    conclude(again: 0)
  end
end
