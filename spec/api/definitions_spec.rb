# frozen_string_literal: true

require "spec_helper"

RSpec.describe "defining a workflow" do
  let(:code) { Class.new(Stepwell::StepHandler) }

  # Defines a workflow with steps given as name => options.
  def define(name = "spec/wf", steps: { only: {} }, **options)
    code = self.code
    Stepwell.workflow(name, **options) { steps.each { |step, settings| step(step, code, **settings) } }
  end

  def expect_refused(message, &block)
    expect(&block).to raise_error(Stepwell::ValidationError, message)
  end

  it "refuses a cycle, showing it" do
    expect_refused(/steps: these steps wait for each other in a cycle: \w+ -> \w+ -> \w+ -> \w+/) do
      define(steps: { a: { depends_on: :c }, b: { depends_on: :a }, c: { depends_on: :b }, d: {} })
    end
    expect_refused(/steps\.a\.depends_on: the step depends on itself/) { define(steps: { a: { depends_on: :a } }) }
  end

  it "refuses an unknown dependency, naming step and dependency" do
    expect_refused(%r{workflow spec/wf version 1\.0\.0.*steps\.b\.depends_on: there is no step "z"}) do
      define(steps: { a: {}, b: { depends_on: %i[a z] } })
    end
  end

  it "refuses two steps of one name" do
    code = self.code
    expect_refused(/steps\.a: there are two steps of this name/) do
      Stepwell.workflow("spec/wf") { 2.times { step(:a, code) } }
    end
  end

  it "refuses names that are none" do
    ["Spec/wf", "spec/Wf", "spec", "/wf", "spec/", "spec/w-f", "1spec/wf", "spec/a/b", "#{"n" * 41}/wf",
     "spec/#{"n" * 64}", "späc/wf", "spec/wf\n"].each do |name|
      expect_refused(/(namespace|name): ".*" must start with a-z/m) { define(name) }
    end
    expect_refused(/steps\.Bad: "Bad" must start with a-z/) { define(steps: { Bad: {} }) }
    define("#{"n" * 40}/#{"w" * 63}", steps: { "s" * 63 => {} })
    expect(Stepwell.registry.definitions.keys).to eq([["n" * 40, "w" * 63, "1.0.0"]])
  end

  it "refuses a workflow without a block, without steps, or with a step that is no handler" do
    expect_refused("workflow spec/wf: give a block with its steps") { Stepwell.workflow("spec/wf") }
    expect_refused(/steps: there must be 1 to 5000 steps, not 0/) { define(steps: {}) }
    [Object, code.new, "Code", nil, :code].each do |bad|
      expect_refused(/step a: .* is no handler: give a class whose instances answer call\(step\)/) do
        Stepwell.workflow("spec/wf") { step(:a, bad) }
      end
    end
    expect(Stepwell.registry.definitions).to be_empty
  end

  it "takes any class whose instances answer call" do
    plain = Class.new { define_method(:call) { |step| step.name } }
    Stepwell.workflow("spec/plain") { step(:only, plain) }
    start_stepwell

    expect(Stepwell.submit("spec/plain").wait(timeout: 20).result(:only)).to eq("only")
  end

  it "names every setting that is wrong at once" do
    steps = { a: { max_attempts: 0, timeout: -1, backoff: { base: 5, cap: 1, jitter: 2 } } }
    wrong = ["version: must be a text", "priority: must be low", "timeout: 0s must be above 0",
             "steps.a.max_attempts: 0", "steps.a.timeout: -1s", "steps.a.backoff: base (5s) is above cap (1s)",
             "steps.a.backoff.jitter: 2"]

    expect { define(steps: steps, version: "", priority: :urgently, timeout: 0) }
      .to raise_error(Stepwell::ValidationError, wrong.map { |part| a_string_including(part) }.inject(:and))
  end

  it "refuses an input schema that is none, and a configuration that is no JSON" do
    expect_refused(/input_schema: /) { define("spec/wf", input_schema: { type: "strange" }) }
    expect_refused(%r{workflow spec/wf is not JSON: a Time at steps\.0\.config\.at}) do
      define(steps: { only: { config: { at: Time.now } } })
    end
  end

  it "refuses what the database cannot store, wherever it stands" do
    nul = "a\u0000b"
    {
      { description: nul } => /description: holds the character \\u0000/,
      { version: nul } => /version: holds the character \\u0000/,
      { input_schema: { title: nul } } => /input_schema\.title: holds the character \\u0000/,
      { input_schema: { maximum: 10**140_000 } } => /input_schema\.maximum: 10{19}… \(140001 characters\) has/,
      { steps: { only: { config: { a: [nul] } } } } => /steps\.only\.config\.a\.0: holds the character \\u0000/,
      { steps: { only: { config: { nul => 1 } } } } => /holds the character \\u0000/,
      { steps: { only: { config: { k: 10**140_000 } } } } => /steps\.only\.config\.k: 10{19}… \(140001 char/,
      { steps: { only: { permanent_errors: nul } } } => /steps\.only\.permanent_errors\.0: holds the character/,
      { steps: { only: { retryable_errors: [nul] } } } => /steps\.only\.retryable_errors\.0: holds the character/,
      { concurrency: { key: nul, limit: 1 } } => /concurrency\.key: holds the character/,
      { steps: { only: { config: { :a => 1, "a" => 2 } } } } => /steps\.only\.config\.a: the key is there twice/
    }.each do |settings, message|
      expect_refused(%r{\Aworkflow spec/wf version .* is not valid: .*#{message}}m) { define(**settings) }
    end
    expect(Stepwell.registry.definitions).to be_empty
    define(steps: { only: { config: { k: 10**131_071, f: 1e300, u: "\u{1F600}" } } })
    expect { start_orchestrator }.not_to raise_error
  end

  it "that the database refuses holds up no other, and its error names it" do
    psql("alter table stepwell.workflows add constraint no_bad check (description <> 'bad')")
    define_single("bad", workflow: { description: "bad", version: "7" }) { |_| 1 }
    define_single("good") { |_| 2 }
    refused = %r{\Aworkflow spec/bad version 7 is not valid: the database refuses it: new row .*"no_bad"}
    lines = logged
    start_stepwell

    # The orchestrator says so, and the worker.
    expect(lines.string.lines.grep(/ERROR.*a workflow is not registered.*no_bad/).size).to eq(2)
    expect(Stepwell.submit("spec/good").wait(timeout: 20).state).to eq(:complete)
    2.times { expect_refused(refused) { Stepwell.submit("spec/bad") } }
    expect_refused(refused) { Stepwell.submit_all([{ workflow: "spec/good" }, { workflow: "spec/bad" }]) }
    psql("alter table stepwell.workflows drop constraint no_bad")
    expect(Stepwell.submit("spec/bad").wait(timeout: 20).state).to eq(:complete)
  end

  describe "of the same version twice" do
    it "changes nothing when the content is the same, but for the code" do
      [1, 2].each { |n| define_single { |_| n } }
      start_stepwell

      expect(Stepwell.submit("spec/single").wait(timeout: 20).result(:only)).to eq(2)
      expect(psql("select count(*) from stepwell.workflows")).to eq("1")
    end

    it "is refused in this process when the content differs" do
      define
      expect_refused(%r{workflow spec/wf version 1.0.0 is already defined with different content; give the changed}) do
        define(steps: { only: { max_attempts: 7 } })
      end
      expect { define(steps: { only: { max_attempts: 7 } }, version: "1.0.1") }.not_to raise_error
    end

    it "is refused by the database when another process registered different content, and nothing is left running" do
      define
      start_orchestrator.stop
      Stepwell.registry.clear
      define(steps: { only: { max_attempts: 7 } })
      conflict = %r{workflow spec/wf version 1.0.0 is registered with different content\. A version is immutable}

      expect_refused(conflict) { Stepwell::Orchestrator.embedded(database_url: database_url) }
      expect_refused(conflict) { Stepwell::Worker.new(namespaces: "spec", database_url: database_url).start }
      Stepwell.configure { |c| c.database_url = database_url }
      expect_refused(conflict) { Stepwell.submit("spec/wf") }
      expect(Stepwell.running).to be_empty
      expect(psql("select max_attempts from stepwell.workflow_steps")).to eq("3")
    end

    it "holds up no other workflow" do
      define
      start_orchestrator.stop
      Stepwell.registry.clear
      define(steps: { only: { max_attempts: 7 } })
      define("spec/other")
      Stepwell.configure { |c| c.database_url = database_url }

      expect(Stepwell.submit("spec/other").state).to eq(:pending)
      2.times { expect_refused(/registered with different content/) { Stepwell.submit("spec/wf") } }
      psql("delete from stepwell.workflow_steps where workflow_id = (select min(workflow_id) from stepwell.workflows)")
      psql("delete from stepwell.workflows where name = 'wf'")
      expect(Stepwell.submit("spec/wf").state).to eq(:pending)
    end

    it "is one workflow when many processes register it at once" do
      script = <<~RUBY
        puts "ready"
        $stdin.gets
        code = Class.new(Stepwell::StepHandler)
        20.times { |n| Stepwell.workflow("many_\#{n}/wf") { step :only, code } }
        Stepwell::Orchestrator.embedded.stop
      RUBY
      processes = Array.new(3) { run_ruby(script) }
      processes.each { |process| expect(process.gets).to eq("ready") }
      processes.each { |process| process.puts("go") }
      processes.each { |process| expect(process.wait).to be_success }

      expect(psql("select count(*) from stepwell.workflows")).to eq("20")
      expect(psql("select count(*) from stepwell.workflow_steps")).to eq("20")
    end
  end
end
