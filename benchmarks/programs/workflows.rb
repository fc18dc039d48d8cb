# frozen_string_literal: true

# The workflows that are measured. Rust's half defines the same in benchmarks/rust/src/workflows.rs.
module Workflows
  # kind => [steps, what each depends on]
  KINDS = {
    "single" => [1, ->(_step) { [] }],
    "chain" => [4, ->(step) { step.zero? ? [] : [step - 1] }],
    "fanout" => [102, ->(step) { { 0 => [], 101 => (1..100).to_a }.fetch(step, [0]) }]
  }.freeze

  module_function

  # @return [Integer]
  def steps(kind)
    KINDS.fetch(kind).first
  end

  # @param handler [Class] of all steps
  # @return [String] full name of the workflow
  def define(kind, handler)
    steps, dependencies = KINDS.fetch(kind)
    Stepwell.workflow("bench/#{kind}") do
      steps.times { |n| step("step#{n}", handler, depends_on: dependencies.call(n).map { |other| "step#{other}" }) }
    end
    "bench/#{kind}"
  end

  # A context, or a result, of about so many bytes.
  def context(bytes)
    bytes.zero? ? {} : { data: text(bytes) }
  end

  def result(bytes)
    bytes.zero? ? 1 : text(bytes)
  end

  # Letters without a pattern, because PostgreSQL compresses.
  def text(bytes)
    [Random.new(bytes).bytes(bytes)].pack("m0")[0, bytes]
  end
end
