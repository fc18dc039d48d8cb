# frozen_string_literal: true

require "json"
require "optparse"

# What the programs of Ruby share: their arguments, and the words of benchmarks/support/contestant.rb.
module Peer
  OPTIONS = { mode: nil, tasks: nil, url: nil, packages: nil } # rubocop:disable Style/MutableConstant -- filled below
  OptionParser.new do |parser|
    OPTIONS.each_key { |name| parser.on("--#{name} VALUE", *(Integer if name == :tasks)) }
  end.parse!(into: OPTIONS)

  module_function

  def tasks
    OPTIONS.fetch(:tasks)
  end

  # Measures the block, which runs all jobs.
  def measure
    say("ready")
    started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    yield
    say(JSON.generate(seconds: Process.clock_gettime(Process::CLOCK_MONOTONIC) - started, steps: tasks))
  end

  # Says something, and waits for an answer.
  def say(text)
    $stdout.puts(text)
    $stdout.flush
    $stdin.gets
  end
end
