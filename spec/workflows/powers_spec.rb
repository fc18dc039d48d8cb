# frozen_string_literal: true

require "spec_helper"

# Four of the reference workflows. Each step squares the product of what it depends on, roots square the input.
RSpec.describe "workflows of squares" do
  # @param name [String]
  # @param input [Integer]
  # @param graph [Hash{Symbol => Array<Symbol>}] step => steps it depends on
  # @return [Stepwell::Task] in a terminal state
  def run(name, input, graph)
    square = handler do |step|
      factors = step.results.empty? ? [step.context["n"]] : step.results.values
      factors.inject(:*)**2
    end
    Stepwell.workflow("powers/#{name}") { graph.each { |step, needs| step(step, square, depends_on: needs) } }
    start_stepwell("powers", concurrency: 4)
    Stepwell.submit("powers/#{name}", { n: input }).wait(timeout: 30)
  end

  # The results as PostgreSQL holds them, as text: no driver, no float in between.
  def stored(task)
    rows = psql("select name, result from stepwell.steps where task_id = '#{task.id}' order by position")
    rows.lines(chomp: true).to_h { |row| row.split("|") }
  end

  def expect_results(task, expected)
    expect(task.error).to be_nil
    expect(task.state).to be(:complete)
    expect(task.results).to eq(expected)
    expect(task.results.values).to all(be_an(Integer))
    expect(stored(task)).to eq(expected.transform_values(&:to_s))
    expect(task.steps.map(&:attempt)).to all(eq(1))
    expect_order(task)
  end

  it "linear: each step squares the one before" do
    task = run("linear", 6, { first: [], second: [:first], third: [:second], fourth: [:third] })

    expect_results(task, "first" => 36, "second" => 1_296, "third" => 1_679_616, "fourth" => 2_821_109_907_456)
    expect(executed(task)).to eq(%w[first second third fourth])
  end

  it "diamond: two branches and an end that joins them" do
    task = run("diamond", 4, { start: [], left: [:start], right: [:start], finish: %i[left right] })

    expect_results(task, "start" => 16, "left" => 256, "right" => 256, "finish" => 4_294_967_296)
    expect(executed(task).values_at(0, 3)).to eq(%w[start finish])
  end

  it "tree: a root, two branches, four leaves, one convergence" do
    leaves = { leaf_a: [:left], leaf_b: [:left], leaf_c: [:right], leaf_d: [:right] }
    task = run("tree", 2, { root: [], left: [:root], right: [:root], **leaves, converge: leaves.keys })

    expect_results(task, "root" => 4, "left" => 16, "right" => 16, "leaf_a" => 256, "leaf_b" => 256,
                         "leaf_c" => 256, "leaf_d" => 256, "converge" => 18_446_744_073_709_551_616)
    expect(executed(task).values_at(0, 7)).to eq(%w[root converge])
    expect(task.steps.last.depends_on).to eq(%w[leaf_a leaf_b leaf_c leaf_d])
  end

  mixed = { a: [], b: [:a], c: [:a], d: %i[b c], e: [:b], f: [:c], g: %i[d e f] }

  it "mixed DAG: beyond 64 bits and exact" do
    task = run("mixed", 2, mixed)

    expect_results(task, "a" => 4, "b" => 16, "c" => 16, "d" => 65_536, "e" => 256, "f" => 256,
                         "g" => 18_446_744_073_709_551_616)
    expect(task.result(:g)).to eq(2**64)
  end

  it "mixed DAG: beyond 128 bits, where a float would have lost 75 of them" do
    task = run("mixed", 4, mixed)

    expect_results(task, "a" => 16, "b" => 256, "c" => 256, "d" => 4_294_967_296, "e" => 65_536, "f" => 65_536,
                         "g" => 340_282_366_920_938_463_463_374_607_431_768_211_456)
    expect(task.result(:g)).to eq(2**128)
    expect(stored(task).fetch("g")).to eq((2**128).to_s)
  end
end
