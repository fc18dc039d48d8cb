# frozen_string_literal: true

require "spec_helper"

RSpec.describe "dead letters" do
  # Sends messages to a queue.
  def send_messages(queue, *messages)
    messages.each { |message| psql("select pgmq.send('#{queue}', '#{JSON.generate(message)}')") }
  end

  # @return [Array<Stepwell::DeadLetter>] once there are so many
  def letters(count, **options)
    eventually { Stepwell.dead_letters.size == count }
    Stepwell.dead_letters(**options)
  end

  # Submits a task of a workflow that nobody knows, as plain SQL can.
  def submit_unknown(name = "later")
    id = psql("select task_id from stepwell.submit_tasks(array[jsonb_build_object('workflow', 'spec/#{name}')])")
    Stepwell.task(id).wait(timeout: 20)
  end

  it "are there to be read, the newest first, of one queue or of all, page by page" do
    define_single { |_| 1 }
    start_stepwell
    send_messages("task_requests", { "n" => 2**64 }, [1], nil)
    letters(3)
    send_messages("step_results", "text")
    letters(4)
    send_messages("spec_queue", { "task_id" => 7 })
    all = letters(5)

    expect(all.map(&:queue)).to eq(%w[spec_queue step_results task_requests task_requests task_requests])
    expect(all.map(&:message).first(2)).to eq([{ "task_id" => 7 }, "text"])
    expect(all.map(&:message).last(3)).to contain_exactly({ "n" => 2**64 }, [1], nil)
    expect(all.map(&:id)).to eq(all.map(&:id).sort.reverse)
    expect(all).to all(be_frozen.and(have_attributes(reason: /the (message|request)/)))
    expect(all.map(&:buried_at)).to all(be_within(60).of(Time.now))
    expect(all.last).to have_attributes(enqueued_at: be_between(Time.now - 60, all.last.buried_at))
    expect(Stepwell.dead_letters(queue: "step_results")).to eq([all[1]])
    expect(Stepwell.dead_letters(queue: "nowhere")).to eq([])
    expect(Stepwell.dead_letters(limit: 2)).to eq(all.first(2))
    [-1, 0, 10_001, "2", nil].each do |limit|
      expect { Stepwell.dead_letters(limit: limit) }
        .to raise_error(Stepwell::ValidationError, /\Alimit: #{Regexp.escape(limit.inspect)} must be an Integer/)
    end
    expect(Stepwell.dead_letters(limit: 2, before: all[1].id)).to eq(all[2, 2])
    expect(Stepwell.dead_letters(queue: "task_requests", before: all[2].id)).to eq(all[3, 2])
  end

  it "are replayed once they can be used: the task completes, and can be waited for" do
    start_orchestrator
    tasks = %w[later later].map { |name| submit_unknown(name) }
    expect(tasks).to all(have_attributes(state: :error, error: /spec.later/))
    newer, older = letters(2)
    define_single("later") { |_| "at last" }
    start_worker
    waiters = tasks.map { |task| Stepwell.task(task.id) }

    expect(Stepwell.replay(older, reason: "known now", actor: "anna")).to eq([older.id])
    expect(Stepwell.replay([newer.id, newer, older.id, 4_711])).to eq([newer.id])
    expect(Stepwell.wait_all(waiters, timeout: 20)).to all(have_attributes(state: :complete, error: nil))
    expect(waiters.map { |task| task.result(:only) }).to eq(["at last"] * 2)
    expect(Stepwell.dead_letters).to be_empty
    expect(waiters[0].events.map(&:to_h))
      .to match([include(kind: :replay, actor: "anna", reason: "known now",
                         details: include("queue" => "task_requests", "dead_letter" => older.id))])
  end

  it "come back when they still cannot be used" do
    start_orchestrator
    task = submit_unknown
    letter, = letters(1)
    expect(Stepwell.replay(letter.id)).to eq([letter.id])
    again = eventually { Stepwell.dead_letters.find { |it| it.id > letter.id } }

    expect(again).to have_attributes(message: letter.message, reason: letter.reason, queue: letter.queue)
    expect(task.refresh.state).to be(:error)
    expect([Stepwell.replay([]), Stepwell.replay(letter)]).to eq([[], []])
  end
end
