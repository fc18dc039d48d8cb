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
      all = stepwell("dead-letters", "replay", "--all", "--json")

      expect(all.json["replayed"].size).to eq(3)
      none = stepwell("dead-letters", "replay", "--all", "--queue", "step_results")
      expect(none).to have_attributes(code: 0, out: "Replayed 0 dead letters.\n")
      expect(eventually { Stepwell.dead_letters.map(&:id).then { |ids| ids if ids.size == 3 } } & before).to eq([])
      expect(psql("select count(*), max(reason) from stepwell.task_events where kind = 'replay'")).to eq("4|fixed")
    end
  end
end
