# frozen_string_literal: true

require_relative "support"

RSpec.describe "stepwell task" do
  # spec/order: "first", then "second", which answers what its context says.
  def define_order(**options)
    code = handler { |_| { "total" => 2**70 } }
    second = handler do |step|
      raise Stepwell::PermanentError.new("no such\naddress", code: "ADDRESS") if step.context["bad"]

      step.context["flaky"] && step.attempt == 1 ? raise("busy") : { "label" => step.task_id }
    end
    Stepwell.workflow("spec/order") do
      step :first, code
      step :second, second, depends_on: :first, backoff: { base: 0.01 }, **options
    end
  end

  # @return [Stepwell::Task] that has finished
  def finished(context = {}, **options)
    Stepwell.submit("spec/order", context, **options).wait(timeout: 20)
  end

  unknown = "01939c7e-0000-7000-8000-000000000000"

  describe "submit" do
    before { define_order }

    it "prints the id of the task, with all that was asked for" do
      start_stepwell
      options = %w[--priority -3 --idempotency-key k --correlation-id c --tag a --tag b --version 1.0.0]
      ran = stepwell("task", "submit", "spec/order", "--context", '{"n": 18446744073709551616}', *options)
      again = stepwell("task", "submit", "spec/order", "--idempotency-key", "k")
      task = Stepwell.task(ran.out.chomp).wait(timeout: 20)

      expect(ran).to have_attributes(code: 0, err: "", out: /\A\h{8}-\h{4}-7\h{3}-\h{4}-\h{12}\n\z/)
      expect(again).to have_attributes(code: 0, out: ran.out, err: /there already/)
      expect(task).to have_attributes(state: :complete, context: { "n" => 2**64 }, priority: -3, idempotency_key: "k",
                                      correlation_id: "c", tags: %w[a b])
      expect(stepwell("task", "submit", "spec/order", "--idempotency-key", "k", "--json").json)
        .to eq("id" => task.id, "created" => false)
    end

    it "reads the context from a file, or from standard input" do
      start_orchestrator
      file = File.join(folder, "context.json")
      File.write(file, '{"from": "file"}')
      from_file = stepwell("task", "submit", "spec/order", "-c", "@#{file}").out.chomp
      from_input = stepwell("task", "submit", "spec/order", "-c", "-", input: '{"from": "input"}').out.chomp

      expect([from_file, from_input].map { |id| Stepwell.task(id).context["from"] }).to eq(%w[file input])
    end

    it "reads what programs of Windows write" do
      start_orchestrator
      text = "\uFEFF{\r\n  \"name\": \"ż\"\r\n}\r\n"
      file = File.join(folder, "context.json").tap { |path| File.binwrite(path, text.encode("UTF-16LE")) }
      [["-", text], ["@#{file}", ""]].each do |argument, input|
        ran = stepwell("task", "submit", "spec/order", "-c", argument, input: input)
        expect(ran).to have_attributes(code: 0, err: "")
        expect(Stepwell.task(ran.out.chomp).context).to eq("name" => "ż")
      end
    end

    it "refuses what would be lost, by its key" do
      start_orchestrator
      {
        '{"a": 1, "b": {"c": 1, "c": 2}}' => /--context: standard input: b\.c: the key is there twice/,
        '{"a": [1e400]}' => /--context: standard input: a\.0: 1e400 is above what a number can be/,
        '{"a": "\u0000"}' => /--context: standard input: a: holds the character \\u0000/,
        "{\"a\": \"\xB1\"}" => /--context: standard input is not UTF-8, from byte 8 on/
      }.each do |input, message|
        expect(stepwell("task", "submit", "spec/order", "-c", "-", input: input))
          .to have_attributes(code: 2, out: "", err: message)
      end
    end

    it "refuses what is wrong, and says what" do
      start_orchestrator
      {
        ["-c", "[1"] => /--context: the argument is no JSON: .* line 1 column 2/,
        ["-c", "@/nowhere"] => %r{--context: /nowhere: No such file},
        ["-c", "[1]"] => /context: must be a JSON object/,
        ["-p", "77"] => /"77" must be low, normal, high, urgent, or an integer from -10 to 10/
      }.each do |options, message|
        expect(stepwell("task", "submit", "spec/order", *options)).to have_attributes(code: 2, out: "", err: message)
      end
      expect(stepwell("task", "submit", "spec/order", "-c", "-", input: "{"))
        .to have_attributes(code: 2, err: /standard input is no JSON/)
      expect(stepwell("task", "submit", "spec/nothing"))
        .to have_attributes(code: 3, err: %r{no workflow spec/nothing is registered.*\nhint: .*stepwell work}m)
      expect(stepwell("task", "submit", "nothing")).to have_attributes(code: 2, err: /nothing/)
      expect(psql("select count(*) from stepwell.tasks")).to eq("0")
    end

    it "waits, shows each change and the end, and fails when the task does" do
      start_stepwell
      good = stepwell("task", "submit", "spec/order", "-c", '{"flaky": true}', "--wait")
      bad = stepwell("task", "submit", "spec/order", "-c", '{"bad": true}', "--wait")

      expect(good).to have_attributes(code: 0, err: "")
      expect(good.out.lines.first).to match(/\A[\h-]{36}\n\z/)
      expect(good.out).to match(%r{^✓ second  complete     \S+, attempt 2 of 3\nspec/order is complete after \S+\n\z})
      expect(bad).to have_attributes(code: 1, err: "")
      expect(bad.out).to match(/^✗ second  error        no such address\n/)
      expect(bad.out.lines.last).to match(%r{\Aspec/order is error after \S+: second: no such address\n\z})
      json = stepwell("task", "submit", "spec/order", "--wait", "--json")
      expect(json.json).to include("state" => "complete", "results" => include("first" => { "total" => 2**70 }))
    end

    it "stops waiting after the timeout, and says what the task waits for" do
      start_orchestrator
      ran = stepwell("task", "submit", "spec/order", "--wait", "--timeout", "200ms")
      expect(ran).to have_attributes(code: 1, err: /has not finished within 200ms: 1 steps wait for a worker of spec/)
    end
  end

  describe "list" do
    before do
      define_order
      define_single("other") { |_| 1 }
    end

    # @return [Array<String>] ids
    def ids(*options)
      stepwell("task", "list", "--json", *options).json.map { |task| task["id"] }
    end

    it "shows the newest first, page by page" do
      start_stepwell
      tasks = Array.new(3) { finished }
      ran = stepwell("task", "list", "--limit", "2")
      rest = stepwell("task", "list", "--limit", "2", "--before", ran.rows.last.first)

      expect(ran).to have_attributes(code: 0, err: "There may be more: --before #{tasks[1].id}\n")
      expect(ran.out.lines.first.split).to eq(%w[ID WORKFLOW STATE STEPS SUBMITTED TOOK])
      expect(ran.rows.map { |row| row.take(4) })
        .to eq(tasks.last(2).reverse.map { |task| [task.id, "spec/order 1.0.0", "complete", "2/2"] })
      expect(rest).to have_attributes(code: 0, err: "")
      expect(rest.rows.map(&:first)).to eq([tasks.first.id])
      expect(stepwell("task", "list", "--before", unknown)).to have_attributes(code: 0, out: "", err: /no such tasks/)
    end

    it "filters by state, workflow, version, namespace, tag, correlation id and age" do
      start_stepwell
      good = finished({}, tags: %w[vip])
      bad = finished({ bad: true }, correlation_id: "c")
      other = Stepwell.submit("spec/other").wait(timeout: 20)
      all = [other, bad, good].map(&:id)

      expect(ids).to eq(all)
      expect(ids("--state", "error")).to eq([bad.id])
      expect(ids("--state", "error,complete", "--workflow", "spec/order")).to eq([bad.id, good.id])
      expect(ids("-s", "pending", "-s", "cancelled")).to eq([])
      expect(ids("--workflow", "spec/other")).to eq([other.id])
      expect(ids("--workflow", "spec/other", "--version", "2")).to eq([])
      expect(ids("--namespace", "spec")).to eq(all)
      expect(ids("--namespace", "else")).to eq([])
      expect(ids("--tag", "vip")).to eq([good.id])
      expect(ids("--correlation-id", "c")).to eq([bad.id])
      expect(ids("--since", "1h")).to eq(all)
      expect(ids("--since", "2100-01-01T00:00:00Z")).to eq([])
      moment = Time.at(other.id.delete("-")[0, 12].hex / 1000r).utc.iso8601(3)
      expect(ids("--since", moment)).to eq([other.id])
    end

    it "tells of requests that no orchestrator has taken" do
      start_orchestrator.stop
      3.times { stepwell("task", "submit", "spec/other") }
      ran = stepwell("task", "list")
      expect(ran).to have_attributes(code: 0, out: "", err: /3 more requests wait for an orchestrator .*stepwell serve/)
    end
  end

  describe "show" do
    it "shows a task with its steps, failed attempts, results and events" do
      define_order
      start_stepwell
      task = finished({ bad: true }, tags: %w[vip], priority: :high)
      stepwell("task", "resolve", task.id, "second", "--result", '{"label": 7}', "--reason", "by phone",
               "--actor", "anna")
      ran = stepwell("task", "show", task.id)

      expect(ran).to have_attributes(code: 0, err: "")
      expect(ran.out).to match(/^state +resolved\n/).and match(/^priority +5\n/).and match(/^tags +vip\n/)
      expect(ran.out).to match(%r{^second +resolved +1/3 +.* first\n})
      expect(ran.out).to match(/^second +1 +permanent +.*Stepwell::PermanentError \(ADDRESS\) no such address\n/)
      expect(ran.out).to match(/^first +{"total": 1180591620717411303424}\nsecond +{"label": 7}\n/)
      expect(ran.out).to match(/^resolve +anna \(as stepwell\) +.* by phone +{"step": "second"}\n/)
    end

    it "is complete and exact as JSON" do
      define_order
      start_stepwell
      task = finished({ flaky: true, n: 2**70 })
      json = stepwell("task", "show", task.id, "--json").json

      expect(json).to include("id" => task.id, "state" => "complete", "context" => { "flaky" => true, "n" => 2**70 },
                              "results" => { "first" => { "total" => 2**70 }, "second" => { "label" => task.id } })
      expect(json["steps"][1]).to include("name" => "second", "attempt" => 2, "depends_on" => ["first"],
                                          "worker" => task.steps[1].worker)
      expect(json["steps"][1]["attempts"]).to match([include("kind" => "retryable", "message" => "busy",
                                                             "backtrace" => be_an(Array))])
      times = [json["created_at"], json["finished_at"], json["steps"][1]["attempts"][0]["finished_at"]]
      expect(times.map { |time| Time.iso8601(time) }).to all(be_within(60).of(Time.now))
      expect(Time.iso8601(json["finished_at"])).to eq(task.finished_at)
    end

    it "names the database's role beside who somebody says that he is" do
      define_single { |_| 1 }
      start_orchestrator
      task = Stepwell.submit("spec/single")
      stepwell("task", "cancel", task.id, "--actor", "anna")

      expect(stepwell("task", "show", task.id, "--json").json["events"])
        .to match([include("kind" => "cancel", "actor" => "anna", "database_user" => "stepwell")])
      psql("update stepwell.task_events set actor = database_user")
      expect(stepwell("task", "show", task.id).out).to match(/^cancel +stepwell +/)
    end

    it "knows no such task" do
      start_orchestrator
      expect(stepwell("task", "show", unknown)).to have_attributes(code: 3, out: "", err: /no task #{unknown}\nhint: /)
      expect(stepwell("task", "watch", unknown)).to have_attributes(code: 3, out: "", err: /no task #{unknown}\nhint: /)
    end
  end

  describe "watch" do
    it "prints a line of JSON for each change, and the end" do
      gate = Queue.new
      define_single { |step| gate.pop && step.attempt }
      start_stepwell
      task = Stepwell.submit("spec/single")
      process = start("task", "watch", task.id, "--json")
      expect(eventually { JSON.parse(process.gets).then { |line| line if line["state"] == "in_progress" } })
        .to include("step" => "only", "attempt" => 1, "max_attempts" => 3)
      gate << true

      expect(JSON.parse(process.gets)).to include("step" => "only", "state" => "complete")
      expect(JSON.parse(process.gets)).to include("id" => task.id, "state" => "complete")
      expect(process.ended.exitstatus).to eq(0)
    end

    %w[INT TERM].each do |signal|
      it "ends upon SIG#{signal} with 130, and the task goes on" do
        gate = Queue.new
        define_single { |_| gate.pop }
        start_stepwell
        task = Stepwell.submit("spec/single")
        process = start("task", "watch", task.id)
        expect(process.gets).to match(/only/)
        process.signal(signal)

        expect(process.ended.exitstatus).to eq(130)
        gate << "done"
        expect(task.wait(timeout: 20).result(:only)).to eq("done")
      end
    end
  end

  describe "cancel and retry" do
    before { define_order(max_attempts: 1) }

    it "cancels what has not finished, and says who and why" do
      start_orchestrator
      tasks = Array.new(2) { Stepwell.submit("spec/order") }
      ran = stepwell("task", "cancel", *tasks.map(&:id), "--reason", "a mistake", "--actor", "anna")

      expect(ran).to have_attributes(code: 0, err: "", out: tasks.map { |task| "#{task.id}  cancelled\n" }.join)
      expect(tasks.map { |task| task.refresh.state }).to eq(%i[cancelled cancelled])
      expect(tasks[0].events.map(&:to_h)).to match([include(kind: :cancel, actor: "anna", reason: "a mistake")])
    end

    it "does what it can of several, and fails with what it could not" do
      start_stepwell
      done = finished
      code = handler { |_| 1 }
      Stepwell.workflow("nobody/never") { step :only, code }
      open = Stepwell.submit("nobody/never")
      ran = stepwell("task", "cancel", unknown, done.id, open.id)

      expect(ran).to have_attributes(code: 3, out: "#{open.id}  cancelled\n")
      expect(ran.err.lines).to match([/error: there is no task #{unknown}/,
                                      /error: task #{done.id} .*: it is complete/])
      expect(stepwell("task", "cancel", done.id)).to have_attributes(code: 1)
      expect(stepwell("task", "cancel", done.id, open.id, "--json").json)
        .to match([include("id" => done.id, "state" => "complete", "error" => /had finished/),
                   { "id" => open.id, "state" => "cancelled", "error" => nil }])
    end

    it "retries what failed" do
      start_stepwell
      task = finished({ flaky: true })
      expect(task.state).to be(:error)
      wrong = stepwell("task", "retry", task.id, "--step", "first")
      ran = stepwell("task", "retry", task.id, "--step", "second", "--reason", "again")

      expect(wrong).to have_attributes(code: 1, err: /step first of task #{task.id} has not failed/)
      expect(ran).to have_attributes(code: 0, out: "#{task.id}  in_progress\n", err: "")
      expect(task.wait(timeout: 20).state).to be(:complete)
      expect(stepwell("task", "retry", task.id)).to have_attributes(code: 1, err: /no failed step to retry/)
    end
  end
end
