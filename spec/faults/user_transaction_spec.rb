# frozen_string_literal: true

require_relative "faults_helper"

# Submitting is plain SQL, so it happens in transactions of others, which take as long as they take.
RSpec.describe "a submit in a transaction that stays open", :faults do
  hold = Specs::Faults.sized(short: 1.5, full: 5)
  number = 900_000

  before do
    crew
    @client = crew.muster(orchestrator: 1, worker: 2, client: 1).last
    @client.puts("ping 1 5") # everybody is awake
    @client.gets
  end

  # @return [String] the task
  def submit_within(session, number)
    session.run("begin;")
    request = { workflow: "faults/chain", context: { n: number }, idempotency_key: number.to_s }
    session.run("select task_id from stepwell.submit_tasks(array['#{JSON.generate(request)}'::jsonb]);").first
  end

  # @return [Array<Integer>] milliseconds that tasks of others took while the transaction was open for `hold` seconds
  def milliseconds_meanwhile(hold)
    deadline = Specs::Patience.now + hold
    milliseconds = []
    until Specs::Patience.now > deadline
      @client.puts("ping #{100 + milliseconds.size} 5")
      milliseconds.concat(@client.gets(60).split.drop(1).map(&:to_i))
    end
    milliseconds
  end

  def expect_unhindered(milliseconds, hold)
    report.note(held_seconds: hold, median_milliseconds: milliseconds.sort[milliseconds.size / 2],
                slowest_milliseconds: milliseconds.max)
    expect(milliseconds.max).to be < hold * 1000 / 3
  end

  it "never was when it is rolled back, and holds nobody up" do
    user = session
    task = submit_within(user, number)
    milliseconds = milliseconds_meanwhile(hold)
    user.run("rollback;")
    report.lasting_fault
    expect_unhindered(milliseconds, hold)

    traces = psql(<<~SQL)
      select (select count(*) from stepwell.tasks where task_id = '#{task}'),
             (select count(*) from pgmq.q_task_requests),
             (select count(*) from stepwell.idempotency_keys where idempotency_key = '#{number}')
    SQL
    expect(traces).to eq("0|0|0")
    @client.puts("ping #{number} 1") # the key is free
    expect(@client.gets).to start_with("pong")
    conclude(again: 0)
  end

  it "is there when it is committed, and holds nobody up" do
    user = session
    task = submit_within(user, number)
    milliseconds = milliseconds_meanwhile(hold)
    expect(psql("select count(*) from stepwell.tasks where task_id = '#{task}'")).to eq("0")
    user.run("commit;")
    report.lasting_fault
    File.write(crew.acks, "#{number} #{task}\n", mode: "a")
    expect_unhindered(milliseconds, hold)

    @client.puts("ping #{number} 1") # waits for the task that the key stands for
    expect(@client.gets).to start_with("pong")
    conclude(again: 0)
  end
end
