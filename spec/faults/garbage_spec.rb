# frozen_string_literal: true

require_relative "faults_helper"

# Whoever may write to the database may write to the queues, and anything.
RSpec.describe "messages that nobody can use, in all queues in the midst of good ones", :faults do
  rounds = Specs::Faults.sized(short: 3, full: 15)
  nobody = "00000000-0000-7000-8000-000000000000"
  huge = 10**400

  # Not an object, nothing in it, of the wrong types, of nobody, beyond all ranges.
  nonsense = ["null", "true", "42", huge.to_s, '"text"', "[]", "[{}]", "{}", '{"task_id": 1}', '{"task_id": null}',
              '{"task_id": {"a": []}, "step": [], "attempt": {}}', "{\"task_id\": \"#{nobody}\"}",
              "{\"task_id\": \"#{nobody}\", \"step\": 0, \"attempt\": 1, \"outcome\": \"complete\", \"result\": 1}",
              "{\"task_id\": \"#{nobody}\", \"step\": #{huge}, \"attempt\": -#{huge}, \"outcome\": 7}"]
  garbage = {
    "task_requests" => nonsense + ["{\"task_id\": \"#{nobody}\", \"workflow\": 7}",
                                   "{\"task_id\": \"#{nobody}\", \"workflow\": \"faults/unknown\"}",
                                   "{\"task_id\": \"#{nobody}\", \"workflow\": \"faults/chain/\", \"context\": {}}",
                                   "{\"task_id\": \"nonsense\", \"workflow\": \"faults/chain\"}"],
    "faults_queue" => nonsense,
    "step_results" => nonsense
  }

  def send_all(messages_by_queue)
    psql(messages_by_queue.flat_map do |queue, messages|
      messages.map { |message| "select pgmq.send('#{queue}', '#{message}'::jsonb);" }
    end.join("\n"))
    report.fault
  end

  # Messages that name a step which exists, and an attempt that it is not on: dropped, they tell nobody anything.
  # @param attempts [Array<Integer>] none of them the step's, or the step is not to be executed
  def beside(task, step, attempts)
    steps = attempts.map { |attempt| { task_id: task, step: step, attempt: attempt } }
    results = steps.flat_map do |it|
      [{ **it, outcome: "complete", result: -1 }, { **it, outcome: "permanent", error: { message: "no" } },
       { **it, outcome: "retryable", retry_after: 10**400, duration_us: -1 }]
    end
    { "faults_queue" => steps, "step_results" => results }
      .transform_values { |messages| messages.map { |message| JSON.generate(message) } }
  end

  # Messages that name a task which exists, and nothing usable of it.
  def broken(task)
    result = { task_id: task, step: 0, attempt: 1, outcome: "complete", result: -1 }
    { "faults_queue" => [{ task_id: task, step: 999, attempt: 1 }, { task_id: task, attempt: 1 }],
      "step_results" => [{ **result, outcome: "bogus" }, { **result, attempt: 10**30 }, { **result, step: 999 },
                         result.reject { |key| key == :attempt }, { **result, step: -1 }] }
      .transform_values { |messages| messages.map { |message| JSON.generate(message) } }
  end

  # @return [String] a chain in this state
  def any_chain(state)
    eventually do
      found = psql("select task_id from stepwell.steps join stepwell.tasks t using (task_id)
                     where t.state = '#{state}' and name = 'four' limit 1")
      found unless found.empty?
    end
  end

  it "harm none of those, and are dead letters with a reason" do
    crew(known: %i[buried])
    crew.muster(orchestrator: 2, worker: 2)
    client = start_load
    progress
    dead = {}
    rounds.times do
      useless = [garbage, broken(any_chain("complete")), broken(any_chain("in_progress"))]
      useless.each do |messages|
        send_all(messages)
        dead.update(messages.transform_values(&:size)) { |_, before, more| before + more }
      end
      send_all(beside(any_chain("complete"), 0, [0, 1, 9_999]))
      send_all(beside(any_chain("in_progress"), 3, [0, 9_999]))
      progress
    end
    expect(end_load(client)).to eq(0)

    expect(psql("select distinct reason from stepwell.dead_letters").lines).to all match(/\S{3}/)
    conclude(again: 0, dead_letters: dead)
  end
end
