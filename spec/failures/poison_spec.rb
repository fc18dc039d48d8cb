# frozen_string_literal: true

require "spec_helper"

RSpec.describe "messages that nobody can use" do
  task = "01a2107e-00ea-70df-815a-3a790cd516e5" # nobody's
  shapeless = [nil, true, 7, -1.5, "text", [], {}, [{ "task_id" => task }], { "task_id" => nil }, { "task_id" => "x" },
               { "task_id" => { "a" => [1] }, "step" => 0, "attempt" => 1 }, "x" * 100_000,
               (1..200).inject(1) { |inner, _| [inner] }]
  garbage = {
    "task_requests" => [{ "workflow" => 7, "task_id" => task }, { "workflow" => "spec/unheard_of", "task_id" => task },
                        { "workflow" => "", "context" => [] }, { "workflow" => "spec/two", "task_id" => "no uuid" },
                        { "workflow" => "spec/two", "version" => "9", "task_id" => task.sub("0", "1") }],
    "spec_queue" => [{ "task_id" => task, "step" => 0, "attempt" => 1 }, { "task_id" => task, "step" => 10**30 },
                     { "task_id" => task, "step" => -1, "attempt" => "x" }],
    "step_results" => [{ "task_id" => task, "step" => 0, "attempt" => 1, "outcome" => "complete", "result" => 1 },
                       { "task_id" => task, "step" => 0, "attempt" => 1, "outcome" => "maybe" },
                       { "task_id" => task, "step" => 1.5, "attempt" => 10**30, "outcome" => "retryable" },
                       { "task_id" => task, "step" => nil, "attempt" => [], "outcome" => { "a" => 1 } }]
  }.transform_values { |messages| shapeless + messages }

  def queued(queue)
    psql("select count(*) from pgmq.q_#{queue}").to_i
  end

  def reported
    psql("select count(*) from pgmq.q_step_results q, stepwell.results_of(q.message)").to_i
  end

  # Puts half of the garbage before what is in a queue, and half behind it.
  def poison(queue, messages)
    texts = messages.map { |message| "'#{JSON.generate(message, max_nesting: 0)}'::jsonb" }
    psql("create table sound as select * from pgmq.q_#{queue}; truncate pgmq.q_#{queue}; " \
         "select pgmq.send_batch('#{queue}', array[#{texts.each_slice(2).map(&:first).join(", ")}]); " \
         "select pgmq.send_batch('#{queue}', array_agg(message order by msg_id)) from sound having count(*) > 0; " \
         "select pgmq.send_batch('#{queue}', array[#{texts.each_slice(2).flat_map { |it| it.drop(1) }.join(", ")}]); " \
         "drop table sound")
    expect(queued(queue)).to be > messages.size
  end

  def letters_of(queue)
    Stepwell.dead_letters(queue: queue).map(&:message)
  end

  it "become dead letters, and those of the same batch that are sound go on" do
    one = handler { |step| step.context["n"] }
    two = handler { |step| step.results["one"] + 1 }
    Stepwell.workflow("spec/two") do
      step :one, one
      step :two, two, depends_on: :one
    end
    Stepwell.configure { |c| c.database_url = database_url }
    start_orchestrator.stop
    tasks = Stepwell.submit_all(Array.new(20) { |n| { workflow: "spec/two", context: { n: n } } })

    poison("task_requests", garbage["task_requests"])
    orchestrator = start_orchestrator
    eventually { queued("task_requests").zero? && queued("spec_queue") == 20 }
    orchestrator.stop
    poison("spec_queue", garbage["spec_queue"])
    start_worker
    eventually { queued("spec_queue").zero? && reported == 20 }
    poison("step_results", garbage["step_results"])
    start_orchestrator
    Stepwell.wait_all(tasks, timeout: 30)

    expect(tasks.map(&:results)).to eq((0..19).map { |n| { "one" => n, "two" => n + 1 } })
    garbage.each { |queue, messages| expect(letters_of(queue)).to match_array(messages) }
  end
end
