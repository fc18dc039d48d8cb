# frozen_string_literal: true

require "spec_helper"
require "pp" # rubocop:disable Lint/RedundantRequireStatement -- Kernel#pp alone loads it by itself

RSpec.describe "what p shows" do
  secret = "hunter2"

  # @return [String] the same by p, pp and in a text
  def shown(object)
    expect(object.to_s).to eq(object.inspect)
    expect(PP.pp(object, +"", 20).chomp).to eq(object.inspect)
    object.inspect
  end

  def one_line(pattern)
    match(/\A#<Stepwell::#{pattern}>\z/).and satisfy("be short, and no secret") { |it|
      it.size < 300 && !it.match?(/\n|hunter2/)
    }
  end

  # @return [Stepwell::Task] one with a step of each kind, that ended in error
  def failed_task
    text = "no such\ncard, password=hunter2"
    good = handler { |_| { "password" => "hunter2" } }
    bad = handler { |step| step.attempt == 1 ? raise(IOError, text) : raise(Stepwell::PermanentError, text) }
    Stepwell.workflow("spec/kinds") do
      step :good, good
      step :bad, bad, depends_on: :good, backoff: { base: 0.01, cap: 0.01 }
      step :never, good, depends_on: :bad
    end
    start_stepwell
    Stepwell.submit("spec/kinds", { password: secret = "hunter2", other: secret }).wait(timeout: 30)
  end

  it "is one line of a task, its steps and attempts, and all of it can be reached" do
    task = failed_task
    expect(shown(task)).to one_line("Task #{task.id} spec/kinds error")
    expect(shown(Stepwell::Task.new(task.connection, task.id))).to one_line("Task #{task.id} not read yet")
    good, bad, never = task.steps
    expect(shown(good)).to one_line("Step good complete attempt 1/3 took [\\d.]+s")
    expect(shown(bad)).to one_line("Step bad error attempt 2/3 took [\\d.]+s Stepwell::PermanentError")
    expect(shown(never)).to one_line("Step never pending attempt 0/3")
    expect(shown(bad.attempts[0])).to one_line('FailedAttempt attempt 1 retryable took [\d.]+s IOError "no such"')
    expect(shown(bad.error)).to one_line('FailedAttempt attempt 2 permanent .*s Stepwell::PermanentError "no such"')

    expect(good.result).to eq("password" => secret)
    expect(bad.error).to be_a(Hash).and include("message" => /card/, "backtrace" => be_an(Array))
    expect(JSON.parse(JSON.generate(bad.attempts)).map { |it| it["class"] }).to eq(%w[IOError Stepwell::PermanentError])
    expect(bad.to_h).to include(name: "bad", error: bad.error)
  end

  it "is one line of events, dead letters and queues" do
    define_single { |_| 1 }
    start_orchestrator
    Stepwell.submit("spec/single").cancel(reason: "late\nand password=hunter2", actor: "anna")
    psql("select pgmq.send('task_requests', '{\"workflow\": \"spec/none\", \"context\": {\"password\": \"hunter2\"}}')")
    letter = eventually { Stepwell.dead_letters.first }
    Stepwell.limit("spec", concurrency: 5, rate: 10)
    Stepwell.pause("spec")
    time = "\\d{4}-\\d\\d-\\d\\dT\\S+Z"

    event = Stepwell.task(JSON.parse(psql("select to_json(task_id) from stepwell.tasks"))).events.first
    expect(shown(event)).to one_line("Event cancel by anna \\(as stepwell\\) #{time} \"late\"")
    expect(shown(letter)).to one_line("DeadLetter #{letter.id} task_requests #{time} \"the request has .*\"")
    expect(letter.message).to include("context" => { "password" => secret })
    expect(shown(Stepwell.queues.first))
      .to one_line("QueueStatus spec queued=[01] ready=0 keyed=0 in_progress=0 concurrency=5 rate=10/1.0s paused")
  end

  it "is one line of what runs, and of what a handler gets" do
    seen = Queue.new
    define_single { |step| seen.push([shown(step), step.logger.inspect]) && 1 }
    orchestrator = start_orchestrator
    worker = start_worker(concurrency: 2)
    task = Stepwell.submit("spec/single", { password: secret }).wait(timeout: 20)

    expect(task.state).to be(:complete)
    execution, logger = seen.pop(true)
    expect(execution).to one_line("StepExecution spec/single only attempt 1/3 task=#{task.id}")
    expect(logger).to one_line("Logging::StepLogger level=warn task=#{task.id} step=only attempt=1.*")
    expect(shown(orchestrator)).to one_line("Orchestrator postgres://stepwell@.* running")
    expect(shown(worker)).to one_line("Worker \\S+:\\d+:\\w+ spec concurrency=2")
    worker.stop
    expect(shown(worker)).to one_line("Worker stopped spec concurrency=2")
    expect(Stepwell.logger.inspect).to one_line("Logging::Standard level=warn")
  end

  it "is one line of settings, without the passwords in them" do
    configuration = Stepwell::Configuration.new
    configuration.database_url = "postgres://app:hunter2@db/shop"
    configuration.worker.lease = 90
    configuration.namespaces = { shop: "postgres://app:hunter2@db/one",
                                 "mail" => { database_url: "host=db password=hunter2" } }

    expect(shown(configuration)).to one_line('Configuration database={"url":"postgres://app:\*\*\*@db/shop"} .*')
    expect(shown(configuration.database))
      .to one_line('Configuration::Section database {"url":"postgres://app:\*\*\*@db/shop"}')
    configuration.namespaces = { shop: Object.new, mail: "postgres://app:hunter2@db/one" }
    expect(shown(configuration)).to one_line(".*namespaces=\\(not JSON\\)")
  end

  it "is one line of an API's answer, and of a workflow's block, without their contents" do
    headers = Stepwell::ApiHandler::Headers.new({ "Set-Cookie" => "token=hunter2", "date" => "now" })
    expect(headers.inspect).to one_line("ApiHandler::Headers Set-Cookie, Date")
    code = handler { |_| 1 }
    builder = nil
    Stepwell.workflow("spec/block") { builder = step(:only, code, config: { password: "hunter2" }) && self }
    expect(shown(builder)).to one_line("WorkflowBuilder spec/block steps=only")
  end
end
