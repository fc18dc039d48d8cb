# frozen_string_literal: true

require "spec_helper"

RSpec.describe "texts that a caller gives" do
  bytes = ["\xFF\xFE", "\xFF\xFE".b, "a\xFF"]
  nul = 'holds the character \u0000, which PostgreSQL cannot store'

  def start_single
    define_single { |_| 1 }
    start_orchestrator
    Stepwell.submit("spec/single")
  end

  # @return [Hash{Proc => String}] calls of the public API with a text, by the argument that takes it
  def calls(task)
    submit = %i[version priority idempotency_key correlation_id tags].to_h do |key|
      [->(text) { Stepwell.submit("spec/single", {}, key => text) }, "the request: #{key}"]
    end
    note = %i[reason actor].flat_map do |key|
      [[->(text) { task.cancel(key => text) }, key], [->(text) { task.retry(key => text) }, key],
       [->(text) { task.resolve(:only, result: 1, key => text) }, key],
       [->(text) { Stepwell.pause("spec", key => text) }, key],
       [->(text) { Stepwell.resume("spec", key => text) }, key],
       [->(text) { Stepwell.limit("spec", key => text) }, key],
       [->(text) { Stepwell.replay(1, key => text) }, key]]
    end
    { **submit, **note.to_h, **names(task) }
  end

  def names(task)
    { ->(text) { Stepwell.submit(text) } => "the request: workflow", ->(text) { Stepwell.task(text) } => "id",
      ->(text) { task.result(text) } => "name", ->(text) { task.retry(steps: [text]) } => "steps",
      ->(text) { task.resolve(text, result: 1) } => "step", ->(text) { Stepwell.pause(text) } => "namespace",
      ->(text) { Stepwell.resume(text) } => "namespace", ->(text) { Stepwell.limit(text, rate: 1) } => "namespace",
      ->(text) { Stepwell.dead_letters(queue: text) } => "queue",
      ->(text) { Stepwell::Worker.new(namespaces: [text]) } => "namespaces",
      ->(text) { Stepwell::Worker.new(namespaces: "a", database_url: text) } => "database_url",
      ->(text) { Stepwell::Orchestrator.embedded(database_url: text) } => "database_url",
      ->(text) { Stepwell.workflow(text) { nil } } => "the workflow's name",
      ->(text) { Stepwell.logging(level: text) } => "level", ->(text) { Stepwell.logging(format: text) } => "format",
      ->(text) { Stepwell.logging(components: { text => :info }) } => "components",
      ->(text) { Stepwell.logging(components: { worker: text }) } => "the level of worker",
      lambda { |text|
        Stepwell.submit("spec/single", {}, trace_context: { traceparent: text })
      } => "the request: trace_context: traceparent" }
  end

  it "are refused by the argument's name when they are not UTF-8" do
    calls(start_single).each do |call, name|
      bytes.each do |text|
        message = /\A#{name}: .* is not UTF-8 \(its encoding is (UTF-8|ASCII-8BIT)\)\z/
        expect { call.call(text) }.to raise_error(Stepwell::ValidationError, message)
      end
    end
    expect(psql("select count(*) from stepwell.task_events")).to eq("0")
  end

  it "are refused by the argument's name when they are no texts" do
    start_single
    task = Stepwell.submit("spec/single")
    { -> { task.cancel(reason: 7) } => "reason: must be a String, not a Integer",
      -> { task.retry(actor: Object.new) } => "actor: must be a String, not a Object",
      -> { Stepwell.task(nil) } => "id: must be a String, not nil", -> { Stepwell.task(7) } => "id: must be a String",
      -> { Stepwell.submit(nil) } => "the request: workflow: must be a String, not nil",
      -> { Stepwell.submit("spec/single", {}, tags: { a: 1 }) } => "the request: tags: must be an Array of Strings",
      -> { Stepwell.submit("spec/single", {}, tags: [["a"]]) } => "the request: tags: must be a String, not a Array",
      -> { Stepwell.dead_letters(before: "x") } => 'before: "x" is no dead letter, and no id of one',
      -> { Stepwell.dead_letters(before: 2**70) } => "before: #{2**70} must be an Integer from 0",
      -> { Stepwell.dead_letters(limit: Float::NAN) } => "limit: NaN must be an Integer from 1 to 10000",
      -> { Stepwell.replay(nil) } => "letters: nil is no dead letter, and no id of one",
      -> { Stepwell.wait_all(task) } => "tasks: must be an Array of tasks, not a Stepwell::Task",
      -> { Stepwell.wait_all([task, task.id]) } => "tasks: number 1 must be a Stepwell::Task, not a String" }
      .each do |call, message|
        expect(&call).to raise_error(Stepwell::ValidationError, start_with(message)), "for #{message}"
      end
  end

  it "are named when they hold a character that PostgreSQL cannot store" do
    task = start_single
    { -> { Stepwell.submit("spec/single", {}, tags: ["a", "b\u0000"]) } => "tags",
      -> { Stepwell.submit("spec/single", {}, correlation_id: "\u0000") } => "correlation_id",
      -> { Stepwell.submit("spec/single", {}, idempotency_key: "a\u0000") } => "idempotency_key",
      -> { Stepwell.submit("spec/single", {}, version: "1\u0000") } => "version",
      -> { task.cancel(reason: "a\u0000") } => "reason", -> { task.cancel(actor: "a\u0000") } => "actor",
      -> { task.retry(reason: "a\u0000") } => "reason", -> { task.retry(steps: ["a\u0000"]) } => "steps",
      -> { task.resolve("a\u0000", result: 1) } => "step", -> { task.resolve(:only, actor: "\u0000") } => "actor",
      -> { Stepwell.pause("spec", reason: "\u0000") } => "reason",
      -> { Stepwell.resume("spec", actor: "\u0000") } => "actor",
      -> { Stepwell.limit("spec", rate: 1, reason: "\u0000") } => "reason",
      -> { Stepwell.dead_letters(queue: "a\u0000") } => "queue",
      -> { Stepwell.replay(1, reason: "\u0000") } => "reason" }
      .each do |call, name|
        message = end_with("is not valid: #{name}: #{nul}")
        expect(&call).to raise_error(Stepwell::ValidationError, message), "for #{name}"
      end
    expect(task.events).to be_empty
  end

  it "are taken in any encoding that can be made UTF-8, and as Symbols" do
    task = start_single
    task.cancel(reason: "zu sp\u00e4t".encode("ISO-8859-1"), actor: :anna)
    tags = ["gr\u00fcn".encode("UTF-16LE"), :blue, 7]
    other = Stepwell.submit("spec/single", {}, tags: tags, correlation_id: "\u00fc".b)

    expect(task.events.first).to have_attributes(reason: "zu spät", actor: "anna")
    eventually { other.refresh.state != :pending }
    expect(other).to have_attributes(tags: %w[grün blue 7], correlation_id: "ü")
  end
end
