# frozen_string_literal: true

require "fiddle"

# The definitions. What their results must be stands in ../expected.rb, on purpose in other words.
module FaultWorkflows
  module_function

  # The usual load: chains of four, and small fan-ins. Of the chains one in ten fails in its second step on every odd
  # attempt, so that retries are always among what the faults hit.
  def define_load
    define_chain
    define_fan
  end

  def define_chain
    one = handler { |n, _| (n * 3) + 1 }
    two = handler do |n, results, step|
      n % 10 == 7 && step.attempt.odd? ? raise("flaky") : results["one"] - (2 * n)
    end
    three = handler { |_, results| results["two"]**2 }
    four = handler { |n, results| results["three"] + (n * 3) + 1 }
    Stepwell.workflow("faults/chain") do
      step :one, one, **OPTIONS
      step :two, two, depends_on: :one, **OPTIONS
      step :three, three, depends_on: :two, **OPTIONS
      step :four, four, depends_on: :three, **OPTIONS
    end
  end

  def define_fan
    start = handler { |n, _| n }
    sides = { left: handler { |_, results| results["start"] + 1 }, middle: handler do |_, results|
                                                                             results["start"] * 2
                                                                           end,
              right: handler { |_, results| results["start"] - 3 } }
    join = handler { |_, results| results.values.sum }
    Stepwell.workflow("faults/fan") do
      step :start, start, **OPTIONS
      sides.each { |name, code| step(name, code, depends_on: :start, **OPTIONS) }
      step :join, join, depends_on: sides.keys, **OPTIONS
    end
  end

  # Two releases of a workflow: the second has one step more, with a handler that the first release lacks.
  def define_deploy1
    define_deploy("1", a: [], b: :a)
  end

  def define_deploy2
    define_deploy("2", a: [], b: :a, c: :b)
  end

  def define_deploy(version, steps)
    code = handler { |n, results| n + 1 + results.values.sum }
    Stepwell.workflow("faults/deploy", version: version) do
      steps.each { |name, before| step(name, code, depends_on: before, **OPTIONS) }
    end
  end

  # Many steps that one waits for.
  def define_wide
    place = handler { |_, _, step| step.name[/\d+/].to_i }
    join = handler { |_, results| results.values.sum }
    names = Array.new(Integer(ENV.fetch("WIDTH"))) { |number| "place#{number}" }
    Stepwell.workflow("faults/wide") do
      names.each { |name| step(name, place, **OPTIONS) }
      step :join, join, depends_on: names, **OPTIONS
    end
  end

  # A step that takes its process with it.
  def define_poison
    healthy = handler { |n, _| n }
    deadly = handler { Process.kill("KILL", Process.pid) }
    Stepwell.workflow("faults/poison") do
      step :healthy, healthy, **OPTIONS
      step :deadly, deadly, depends_on: :healthy, max_attempts: 3
    end
  end

  # A step that asks for another attempt in one second. Of these one in 25 takes two seconds.
  def define_later
    asks = handler do |n, _, step|
      raise Stepwell::RetryableError.new("later", retry_after: 1) if step.attempt == 1

      IO.select(nil, nil, nil, 2) if (n % 25).zero?
      n
    end
    Stepwell.workflow("faults/later") { step :asks, asks, max_attempts: 50, backoff: { base: 1, cap: 1 } }
  end

  # A step in C code that keeps Ruby's lock, so that no other thread of its process runs.
  def define_hog
    usleep = Fiddle::Function.new(Fiddle.dlopen(nil)["usleep"], [Fiddle::TYPE_INT], Fiddle::TYPE_INT, need_gvl: true)
    hogs = handler do |n|
      usleep.call(Integer(ENV.fetch("HOG_MS")) * 1_000)
      n
    end
    Stepwell.workflow("faults/hog") { step :hogs, hogs, **OPTIONS }
  end
end
