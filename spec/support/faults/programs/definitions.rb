# frozen_string_literal: true

require_relative "workflows"

# What the workflows of the fault examples have in common, for every process that knows them. Handlers compute on
# numbers, take a few milliseconds, and note each execution before they start: with one write to the end of a file, so
# that what was executed is known whoever dies.
module FaultWorkflows
  # Many attempts: each kill of a worker costs one of what it held.
  OPTIONS = { max_attempts: 50, backoff: { base: 0.02, cap: 0.1 } }.freeze
  # A number says what its task is: this many numbers for each kind.
  KIND = 1_000_000

  module_function

  # Defines what the process is to know.
  # @param names [String] words: load, deploy1, deploy2, wide, poison, later, hog
  def define(names = ENV.fetch("WORKFLOWS", "load"))
    names.split.each { |name| __send__("define_#{name}") }
  end

  # @return [Hash] the request for a number; with KEYLESS every fifth has no idempotency key, and can only be repeated
  #   by the library, which keeps the task's id
  def request(number)
    workflow, version = workflow_of(*number.divmod(KIND))
    { workflow: "faults/#{workflow}", version: version, context: { n: number },
      idempotency_key: (number.to_s unless ENV.key?("KEYLESS") && (number % 5).zero?) }.compact
  end

  def workflow_of(kind, place)
    case kind
    when 0 then place % 5 == 4 ? "fan" : "chain"
    when 1 then ["deploy", place.odd? ? "1" : "2"]
    else %w[wide poison later hog][kind - 2]
    end
  end

  def note(step)
    File.write(ENV.fetch("NOTES"), "#{step.task_id} #{step.name} #{step.attempt} #{Process.pid}\n", mode: "a")
  end

  # Takes its time: a random one within HANDLER_MS.
  def work
    least, most = ENV.fetch("HANDLER_MS", "2-8").split("-").map(&:to_f)
    IO.select(nil, nil, nil, rand(least..most) / 1000)
  end

  # @yieldparam number [Integer] the task's
  # @yieldparam results [Hash] of the steps before
  # @yieldparam step [Stepwell::StepExecution]
  # @return [Class] a handler
  def handler(&code)
    Class.new(Stepwell::StepHandler) do
      define_method(:call) do |step|
        FaultWorkflows.note(step)
        FaultWorkflows.work
        code.call(step.context["n"], step.results, step)
      end
    end
  end
end
