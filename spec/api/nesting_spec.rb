# frozen_string_literal: true

require "spec_helper"
require_relative "../cli/support"

# One limit for whoever submits, so that whoever reads can read what is stored.
RSpec.describe "a context that is nested deep" do
  include Specs::CommandLine

  # @return [String] JSON of so many Hashes and Arrays in each other
  def nested(depth)
    "#{"{\"a\":[" * (depth / 2)}#{"{}" if depth.odd?}#{"]}" * (depth / 2)}"
  end

  def by_sql(context)
    psql("select task_id from stepwell.submit_tasks(array[jsonb_build_object('workflow', 'spec/single', " \
         "'context', '#{context}'::jsonb)])")
  end

  # @return [String] id of a request that has come to the queue past every function
  def by_queue(context)
    id = psql("select stepwell.uuid_v7()")
    psql("select pgmq.send('task_requests', jsonb_build_object('workflow', 'spec/single', 'task_id', '#{id}', " \
         "'context', '#{context}'::jsonb))")
    id
  end

  before do
    define_single { |step| step.context.size }
    start_stepwell
  end

  it "is taken at 100, by whichever way it comes, and read again" do
    context = nested(100)
    command = stepwell("task", "submit", "spec/single", "--context", context)
    ids = [Stepwell.submit("spec/single", JSON.parse(context)).id, by_sql(context), by_queue(context)]
    tasks = [*ids, command.out.chomp].map { |id| Stepwell.task(id).wait(timeout: 20) }

    expect(tasks.map(&:state)).to all(be(:complete))
    expect(tasks.map(&:context)).to all(eq(JSON.parse(context)))
  end

  it "is refused above that, by whichever way it comes" do
    [101, 1_001, 4_000].each do |depth|
      context = nested(depth)
      expect { Stepwell.submit("spec/single", JSON.parse(context, max_nesting: 0)) }
        .to raise_error(Stepwell::ValidationError, /context is not JSON: it is nested more than 100 deep/)
      expect { by_sql(context) }.to raise_error(/submit_tasks: request 1: "context" is nested more than 100 deep/)
      expect(stepwell("task", "submit", "spec/single", "--context", context))
        .to have_attributes(code: 2, out: "", err: /context: is nested more than 100 deep/)
    end
    expect(psql("select count(*) from stepwell.tasks")).to eq("0")
  end

  it "is a task in error, which can be read, when it came past everything" do
    [101, 1_001, 4_000].each do |depth|
      task = Stepwell::Task.new(Stepwell.connection, by_queue(nested(depth))).wait(timeout: 20)

      expect(task).to have_attributes(state: :error, error: "the context is nested more than 100 deep")
      expect(JSON.generate(Stepwell.task(task.id).context, max_nesting: 0)).to eq(nested(depth))
    end
  end

  it "is refused for results that are given by hand, and those of other languages can be read" do
    define_single("failing") { |_| raise Stepwell::PermanentError, "no" }
    task = Stepwell.submit("spec/failing").wait(timeout: 20)
    expect { task.resolve(:only, result: JSON.parse(nested(102), max_nesting: 0)) }
      .to raise_error(Stepwell::ValidationError, /the result is not JSON: it is nested more than 100 deep/)
    psql("select stepwell.resolve_step('#{task.id}', 'only', '#{nested(2_000)}'); " \
         "insert into stepwell.dead_letters (queue, message, reason, buried_at) " \
         "values ('step_results', '#{nested(2_000)}', 'no', now())")

    expect(task.refresh.steps.first.result).to be_a(Hash)
    expect(Stepwell.dead_letters.first.message).to be_a(Hash)
  end
end
