# frozen_string_literal: true

require_relative "faults_helper"

# The worst moment for a connection to die: PostgreSQL has committed, and the caller does not know.
RSpec.describe "a connection that dies between the commit and its acknowledgement", :faults do
  def start_behind_proxy(lease, **programs)
    proxy = start_proxy
    crew(url: url_through(proxy), known: %i[trouble recovered refused given_back], KEYLESS: "1",
         STEPWELL__WORKER__LEASE: lease)
    crew.muster(**programs)
    proxy
  end

  # Who calls a function: the processes, and what the client has of environment.
  def callers_of(function)
    case function
    when "settle_results" then [{ embedded: 1 }, {}]
    when "begin_task" then [{}, { CREWED: "1", WINDOW: "1", BATCH: "1" }]
    else [{ orchestrator: 1, worker: 1 }, {}]
    end
  end

  # Nothing is executed again: a claim that never arrived has not been executed, it only has to expire, and a report
  # counts when it is committed, whoever knows. One claim is at most five steps, a worker's threads; what a result makes
  # ready comes back with its answer, and is as lost.
  { "submit_tasks" => 0, "initialize_tasks" => 0, "claim_steps" => 5, "report_results" => 0, "apply_results" => 0,
    "settle_results" => 5, "begin_task" => 5 }.each do |function, held|
    it "of #{function} loses nothing and applies nothing twice" do
      programs, client_env = callers_of(function)
      proxy = start_behind_proxy(held.zero? ? "3s" : "1s", **programs)
      client = start_load(**client_env)
      Specs::Faults.sized(short: 5, full: 40).times do
        proxy.lose_answer(function)
        report.fault
        progress # each is met in full swing again
      end
      expect(end_load(client)).to eq(0)
      submit_again([1, 4], [6, 4]) # 5 has no key
      conclude(again: 0, leases: held * report.times.size, trouble: report.times.size)
      proxy.process.wait
    end
  end
end
