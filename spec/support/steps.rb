# frozen_string_literal: true

module Specs
  # Handlers of the specs, and what they did.
  module Steps
    # Names of the executed steps, in the order in which they were executed.
    @executions = Queue.new

    class << self
      attr_reader :executions

      # @return [Array<Array>] [task id, step name] of each execution
      def executed
        Array.new(executions.size) { executions.pop(true) }.each { |execution| executions << execution }
      end
    end

    # Records its execution, then does what the block says.
    def handler(&block)
      Class.new(Stepwell::StepHandler) do
        define_method(:call) do |step|
          Steps.executions << [step.task_id, step.name]
          block.call(step)
        end
      end
    end

    # Defines a workflow "spec/NAME" whose only step is called "only".
    def define_single(name = "single", workflow: {}, **options, &block)
      code = handler(&block)
      Stepwell.workflow("spec/#{name}", **workflow) { step(:only, code, **options) }
      "spec/#{name}"
    end

    # @return [Array<String>] names of the task's executed steps, in order
    def executed(task)
      Steps.executed.select { |id, _| id == task.id }.map(&:last)
    end

    # Every step started after the steps it depends on had finished, by the times and by what the handlers recorded.
    def expect_order(task)
      steps = task.steps.to_h { |step| [step.name, step] }
      order = executed(task)
      expect(order.tally).to eq(steps.transform_values { 1 })
      steps.each_value do |step|
        step.depends_on.map { |name| steps.fetch(name) }.each do |dependency|
          expect(order.index(dependency.name)).to be < order.index(step.name)
          expect(dependency.finished_at).to be <= step.started_at
        end
      end
    end
  end
end
