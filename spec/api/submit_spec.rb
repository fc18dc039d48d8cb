# frozen_string_literal: true

require "spec_helper"

RSpec.describe "submitting" do
  before { define_single { |step| step.context["n"] } }

  # @return [Array<Stepwell::Task>]
  def submit_numbers(numbers, **options)
    Stepwell.submit_all(numbers.map { |n| { workflow: "spec/single", context: { n: n }, **options } })
  end

  it "gives a task for each request, in their order, with ids that sort by time" do
    start_stepwell
    tasks = submit_numbers(1..1_500) # more than one transaction takes

    expect(tasks.map(&:id)).to eq(tasks.map(&:id).sort)
    expect(tasks.map(&:id)).to all(match(/\A\h{8}-\h{4}-7\h{3}-[89ab]\h{3}-\h{12}\z/))
    Stepwell.wait_all(tasks, timeout: 60)
    expect(tasks.map { |task| task.context["n"] }).to eq((1..1_500).to_a)
    expect(psql("select sum(result::int), count(*) from stepwell.steps")).to eq("1125750|1500")
  end

  it "takes nothing for nothing" do
    expect(Stepwell.submit_all([])).to eq([])
  end

  it "turns symbol keys and values into strings and keeps every kind of JSON value" do
    start_stepwell
    context = { a: :b, list: [1, 2.5, nil, true, "ü\u{1F600}"], big: 2**200, deep: { "x" => {} }, empty: [] }
    task = Stepwell.submit("spec/single", context).refresh

    expect(task.context).to eq("a" => "b", "list" => [1, 2.5, nil, true, "ü\u{1F600}"], "big" => 2**200,
                               "deep" => { "x" => {} }, "empty" => [])
  end

  it "carries priority, tags, correlation id and key with the task and to its steps" do
    define_single("echo") { |step| [step.correlation_id, step.workflow, step.version, step.name, step.idempotency_key] }
    start_stepwell
    task = Stepwell.submit("spec/echo", {}, priority: :high, tags: %w[blue urgent], correlation_id: "req-7",
                                            idempotency_key: "k-1").wait(timeout: 10)

    expect(task).to have_attributes(priority: 5, tags: %w[blue urgent], correlation_id: "req-7",
                                    idempotency_key: "k-1", workflow: "spec/echo", version: "1.0.0", error: nil)
    expect(task.result(:only)).to eq(["req-7", "spec/echo", "1.0.0", "only", "#{task.id}:only"])
  end

  it "knows priorities by name and by number, and the workflow's own" do
    define_single("low", workflow: { priority: :low }) { |step| step.context["n"] }
    orchestrator = start_orchestrator
    levels = { low: -5, normal: 0, "high" => 5, urgent: 10, -10 => -10, 7 => 7, nil => 0 }
    tasks = levels.keys.map { |priority| orchestrator.submit("spec/single", {}, priority: priority) }
    tasks << orchestrator.submit("spec/low") << orchestrator.submit("spec/low", {}, priority: 0)
    eventually { tasks.map(&:refresh).none? { |task| task.state == :pending } }

    expect(tasks.map(&:priority)).to eq([*levels.values, -5, 0])
  end

  it "refuses other priorities and says which there are" do
    start_orchestrator
    [:highest, 11, -11, "1.5", "", true].each do |priority|
      message = "priority: \"#{priority}\" must be low, normal, high, urgent, or an integer from -10 to 10"
      expect { Stepwell.submit("spec/single", {}, priority: priority) }
        .to raise_error(Stepwell::ValidationError, include(message))
    end
  end

  it "refuses what is no context, naming the place" do
    start_orchestrator
    recursive = {}
    recursive[:self] = recursive
    { [1] => "must be a Hash, not a Array", { "a" => [1, { b: Object }] } => 'a Class at context["a"][1][:b]',
      { "t" => Time.at(0) } => 'a Time at context["t"]', { "f" => Float::INFINITY } => 'Infinity at context["f"]',
      { 1 => 2 } => "the key 1 is a Integer", recursive => "nested more than 100 deep, or contains itself",
      { "s" => "\xFF" } => 'a String that is not UTF-8 at context["s"] (its encoding is UTF-8)',
      { "z" => "a\u0000b" } => '\u0000' }.each do |context, message|
      expect { Stepwell.submit("spec/single", context) }
        .to raise_error(Stepwell::ValidationError, include(message)), "for #{message}"
    end
  end

  it "refuses unknown workflows, versions and options" do
    start_orchestrator
    { "spec/nothing" => 'unknown workflow "spec/nothing"', "single" => '"single" must be "namespace/name"' }
      .each do |name, message|
        expect { Stepwell.submit(name) }.to raise_error(Stepwell::ValidationError, include(message))
      end
    expect { Stepwell.submit("spec/single", {}, version: "9") }
      .to raise_error(Stepwell::ValidationError, /version "9"/)
    expect { Stepwell.submit("spec/single", {}, prioritty: 1) }
      .to raise_error(Stepwell::ValidationError, /unknown prioritty; allowed are workflow, version/)
  end

  it "submits all or nothing, and names each bad request" do
    define_single("strict", workflow: { input_schema: { type: "object", required: ["n"],
                                                        properties: { n: { type: "integer" } } } }, &:context)
    start_orchestrator
    requests = [{ n: 1 }, { n: "x" }, {}].map { |context| { workflow: "spec/strict", context: context } }

    expect { Stepwell.submit_all(requests) }
      .to raise_error(Stepwell::ValidationError, /1\.context\.n: .* "integer"; 2\.context: "n" is/)
    expect(psql("select count(*) from pgmq.q_task_requests")).to eq("0")
    expect(psql("select count(*) from stepwell.tasks")).to eq("0")
  end

  it "asks once for a workflow, also where other namespaces have a database of their own" do
    log_statements
    define_single("here") { |_| 1 }
    Stepwell.workflow("billing/there") { step :only, Class.new(Stepwell::StepHandler) }
    Stepwell.configure { |c| c.namespaces = { billing: new_database } }
    start_orchestrator.stop
    Stepwell.configure { |c| c.database_url = database_url }
    Stepwell.submit("spec/here")
    asked = statements { 20.times { Stepwell.submit("spec/here") } }

    expect(asked.grep(/submit_tasks/).size).to eq(20)
    expect(asked.grep(/version, digest|register_workflow/).size).to be <= 1 # once in five seconds
  end

  it "takes requests with String keys, and as other kinds of Hash" do
    start_stepwell
    keyed = Class.new(Hash)
    requests = [{ "workflow" => "spec/single", "context" => { "n" => 1 }, "tags" => ["a"] },
                keyed["workflow", "spec/single", :context, { n: 2 }], { workflow: :"spec/single" }]
    tasks = Stepwell.wait_all(Stepwell.submit_all(requests), timeout: 20)

    expect(tasks.map { |task| task.result(:only) }).to eq([1, 2, nil])
    expect(tasks.first.tags).to eq(["a"])
  end

  it "refuses what is no list of requests, naming the request's place and the key" do
    start_orchestrator
    good = { workflow: "spec/single" }
    { "spec/single" => "the requests must be an Array of Hashes, not a String", good => "not a Hash", nil => "not nil",
      ["spec/single"] => "request 0: must be a Hash with workflow: and context:, not a String",
      [good, nil] => "request 1: must be a Hash with workflow: and context:, not nil",
      [good, {}] => "request 1: workflow: must be a String, not nil",
      [good, { workflow: 7 }] => "request 1: workflow: must be a String, not a Integer",
      [good, { **good, 7 => 1, "x" => 2 }] => "request 1: unknown 7, x; allowed are workflow, version, context",
      [good, { **good, "workflow" => "b" }] => "request 1: workflow is there as a String and as a Symbol: give it once",
      [good, { **good, context: nil }] => "request 1: context must be a Hash, not nil",
      [good, { **good, tags: { a: 1 } }] => "request 1: tags: must be an Array of Strings, not a Hash",
      [good, { **good, priority: [1] }] => "request 1: priority: must be a String, not a Array",
      [good, { workflow: "spec/nothing" }, good, { workflow: "x" }] => /1\.workflow: unknown .*; 3\.workflow: .*"x"/ }
      .each do |requests, message|
        message = include(message) unless message.is_a?(Regexp)
        expect { Stepwell.submit_all(requests) }.to raise_error(Stepwell::ValidationError, message), "for #{requests}"
      end
    expect(psql("select count(*) from stepwell.idempotency_keys")).to eq("0")
    expect(psql("select count(*) from pgmq.q_task_requests")).to eq("0")
  end

  # Lets the insert of an idempotency key "refused" fail.
  def refuse_a_key
    psql("create function public.refuse() returns trigger language plpgsql as $$
            begin if new.idempotency_key = 'refused' then raise exception 'refused'; end if; return new; end $$;
          create trigger refuse before insert on stepwell.idempotency_keys
            for each row execute function public.refuse()")
  end

  it "tells, when a transaction fails after others, what was submitted, and the same call again submits the rest" do
    start_stepwell
    refuse_a_key
    requests = Array.new(2_500) { |n| { workflow: "spec/single", context: { n: n }, idempotency_key: "k#{n}" } }
    requests[1_700][:idempotency_key] = "refused"
    failure = nil
    message = /\A1000 of 2500 requests had been submitted when the next failed: .*refused/
    expect { Stepwell.submit_all(requests) }.to raise_error(Stepwell::DatabaseError, message) { |it| failure = it }
    expect(failure.submitted.map(&:class)).to eq(([Stepwell::Task] * 1_000) + ([NilClass] * 1_500))
    psql("drop trigger refuse on stepwell.idempotency_keys")
    tasks = Stepwell.wait_all(Stepwell.submit_all(requests), timeout: 60)

    expect(tasks.first(1_000).map(&:id)).to eq(failure.submitted.first(1_000).map(&:id))
    expect(tasks.map { |task| task.context["n"] }).to eq((0...2_500).to_a)
    expect(psql("select count(*) from stepwell.tasks")).to eq("2500")
  end

  it "tells of nothing submitted when the only transaction fails" do
    start_orchestrator
    refuse_a_key
    expect { Stepwell.submit("spec/single", {}, idempotency_key: "refused") }
      .to raise_error(Stepwell::DatabaseError, /refused/) { |error| expect(error.submitted).to be_nil }
  end

  it "uses the newest version unless one is asked for" do
    Stepwell.workflow("spec/single", version: "2") { step :second, Class.new(Stepwell::StepHandler) }
    orchestrator = start_orchestrator
    tasks = [nil, "1.0.0", "2"].map { |version| orchestrator.submit("spec/single", {}, version: version) }
    eventually { tasks.map(&:refresh).all? { |task| task.steps.any? } }

    expect(tasks.map(&:version)).to eq(%w[2 1.0.0 2])
    expect(tasks.map { |task| task.steps.map(&:name) }).to eq([["second"], ["only"], ["second"]])
  end

  it "submits within the user's own transaction by plain SQL: a rollback leaves nothing" do
    start_stepwell
    request = "select task_id from stepwell.submit_tasks(array[jsonb_build_object('workflow', 'spec/single', " \
              "'context', jsonb_build_object('n', %d))])"
    undone = psql("begin; #{format(request, 1)}; rollback")
    done = psql("begin; #{format(request, 2)}; commit")

    expect(Stepwell.task(done).wait(timeout: 10).result(:only)).to eq(2)
    expect { Stepwell.task(undone) }.to raise_error(Stepwell::ValidationError, "there is no task #{undone}")
  end
end
