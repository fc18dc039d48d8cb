# frozen_string_literal: true

require_relative "support"

RSpec.describe "stepwell, operating" do
  it "pauses and resumes a namespace" do
    define_single { |_| 1 }
    start_stepwell
    first = stepwell("pause", "spec", "--reason", "maintenance", "--actor", "anna")
    again = stepwell("pause", "spec", "--json")
    task = Stepwell.submit("spec/single")

    expect(first).to have_attributes(code: 0, out: /\Aspec is paused: .*`stepwell resume spec`/, err: "")
    expect(again.json).to eq("namespace" => "spec", "paused" => true, "changed" => false)
    expect { task.wait(timeout: 0.3) }.to raise_error(Stepwell::WaitTimeout, /paused/)
    expect(stepwell("resume", "spec")).to have_attributes(code: 0, out: "spec goes on.\n")
    expect(task.wait(timeout: 20).state).to be(:complete)
    expect(psql("select actor, reason from stepwell.task_events where kind = 'pause'")).to eq("anna|maintenance")
    expect(stepwell("resume", "spec").out).to eq("spec was not paused.\n")
    expect(stepwell("pause", "else")).to have_attributes(code: 3, err: /no namespace else/)
    expect(stepwell("pause", "No/Name")).to have_attributes(code: 2, err: %r{No/Name})
  end

  describe "queues" do
    it "are shown with what waits, what runs, and why" do
      gate = Queue.new
      define_single { |_| gate.pop }
      start_orchestrator
      worker = start_worker(concurrency: 1)
      tasks = Stepwell.submit_all([{ workflow: "spec/single" }] * 3)
      eventually { Stepwell.queues.first.then { |queue| queue.in_progress == 1 && queue.queued == 2 } }
      ran = stepwell("queues")
      json = stepwell("queues", "--json").json

      expect(ran).to have_attributes(code: 0, err: "")
      expect(ran.out.lines.first.split(/ {2,}|\n/))
        .to eq(["NAMESPACE", "WAITING", "QUEUED", "OLDEST", "IN PROGRESS", "LIMITS", "WAITS FOR"])
      expect(ran.rows).to match([["spec", "0", "2", /now|ago/, "1"]])
      expect(json).to match([include("namespace" => "spec", "queued" => 2, "ready" => 0, "in_progress" => 1,
                                     "paused_at" => nil, "concurrency" => nil, "rate" => nil)])
      expect(Time.iso8601(json[0]["oldest_at"])).to be_within(60).of(Time.now)
      3.times { gate << 1 }
      Stepwell.wait_all(tasks, timeout: 20)
      worker.stop
      stepwell("pause", "spec")
      Stepwell.submit("spec/single")
      eventually { Stepwell.queues.first.then { |queue| queue.queued + queue.ready == 1 } }
      expect(stepwell("queues").out.lines.last).to match(/ 0 +paused (now|\d+s ago)  paused since \d/)
    end

    it "are counted no further than 10,000" do
      define_single { |_| 1 }
      Stepwell.connection(database_url).register(Stepwell.registry.definitions)
      psql("insert into stepwell.ready_steps (dispatch_at, task_id, position, attempt, namespace) " \
           "select now(), gen_random_uuid(), 0, 1, 'spec' from generate_series(1, 10001)")

      expect(stepwell("queues").rows.first.first(3)).to eq(["spec", "10,000+", "0"])
      expect(stepwell("queues", "--json").json).to match([include("ready" => 10_000, "queued" => 0)])
      Stepwell.configure { |c| c.database_url = database_url }
      expect(Stepwell.queues.map(&:ready)).to eq([10_000])
      psql("delete from stepwell.ready_steps")
    end

    it "are limited, and freed" do
      define_single { |_| 1 }
      start_orchestrator
      both = stepwell("limit", "spec", "--concurrency", "1", "--rate", "100", "--period", "1m", "--reason", "slow bank")
      expect(both).to have_attributes(code: 0, out: "spec is limited: 1 steps at a time, 100 in 1m.\n", err: "")
      2.times { Stepwell.submit("spec/single") }
      expect(eventually { stepwell("queues").rows.first.then { |row| row if row[1] == "1" } })
        .to match(["spec", "1", "1", /now|ago/, "0", "1 at a time, 100 in 1m", "a worker"])
      one = stepwell("limit", "spec", "--rate", "5", "--json")
      expect(one.json).to include("concurrency" => nil, "rate" => 5, "rate_period" => 1.0)
      expect(stepwell("limit", "spec", "--none")).to have_attributes(code: 0, out: "spec has no limits.\n")
      expect(psql("select count(*), max(reason) from stepwell.task_events where kind = 'limit'")).to eq("3|slow bank")
    end

    it "refuse limits that are none" do
      define_single { |_| 1 }
      start_orchestrator
      expect(stepwell("limit", "spec")).to have_attributes(code: 2, err: /--concurrency.*--rate.*--none/m)
      expect(stepwell("limit", "spec", "--none", "--rate", "3")).to have_attributes(code: 2, err: /cannot be used with/)
      expect(stepwell("limit", "spec", "--period", "3s")).to have_attributes(code: 2, err: /--rate/)
      expect(stepwell("limit", "spec", "--concurrency", "0")).to have_attributes(code: 2, err: /from 1 to 1000000/)
      expect(stepwell("limit", "else", "--rate", "3")).to have_attributes(code: 3, err: /no namespace else/)
    end
  end

  describe "dead letters" do
    def bury(count)
      count.times { |n| psql("select pgmq.send('task_requests', '#{JSON.generate([n, 2**70])}')") }
      eventually { Stepwell.dead_letters.size == count }
    end

    it "are listed, the newest first, page by page" do
      start_orchestrator
      expect(stepwell("dead-letters", "list")).to have_attributes(code: 0, out: "", err: "There are no dead letters.\n")
      bury(3)
      newest, *older = Stepwell.dead_letters.map(&:id)
      ran = stepwell("dead-letters", "list", "--limit", "2")
      rest = stepwell("dead-letters", "list", "--before", older[0].to_s)

      expect(ran).to have_attributes(code: 0, err: "There may be more: --before #{older[0]}\n")
      expect(ran.rows).to match([newest, older[0]].map { |id| [id.to_s, "task_requests", /ago|now/, /\w/, /1180/] })
      expect(rest).to have_attributes(code: 0, err: "")
      expect(rest.rows.map(&:first)).to eq([older[1].to_s])
      expect(stepwell("dead-letters", "list", "--queue", "step_results", "--json").json).to eq([])
      expect(stepwell("dead-letters", "list", "--json").json.map { |letter| letter["message"][1] }).to eq([2**70] * 3)
    end

    it "are replayed by number, or all, each once also when they come back" do
      start_orchestrator
      bury(3)
      before = Stepwell.dead_letters.map(&:id)
      one = stepwell("dead-letters", "replay", before[0].to_s, "--reason", "fixed")
      expect(one).to have_attributes(code: 0, out: "Replayed 1 dead letter.\n")
      expect(stepwell("dead-letters", "replay", before[0].to_s))
        .to have_attributes(code: 3, err: /there is no dead letter #{before[0]}/)
      eventually { Stepwell.dead_letters.size == 3 }
      psql("insert into stepwell.dead_letters (queue, message, reason, buried_at) " \
           "select 'task_requests', to_jsonb(n), 'so many', now() from generate_series(1, 500) n")
      all = stepwell("dead-letters", "replay", "--all", "--json")

      expect(all.json["replayed"].size).to eq(503)
      none = stepwell("dead-letters", "replay", "--all", "--queue", "step_results")
      expect(none).to have_attributes(code: 0, out: "Replayed 0 dead letters.\n")
      ids = eventually { Stepwell.dead_letters(limit: 1_000).map(&:id).then { |list| list if list.size == 503 } }
      expect(ids & before).to eq([])
      expect(psql("select count(*), max(reason) from stepwell.task_events where kind = 'replay'")).to eq("504|fixed")
    end
  end
end
