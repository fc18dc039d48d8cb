# frozen_string_literal: true

# One measurement of bin/bench in Ruby, as one process, with the roles and modes of benchmarks/rust/src/runner.rs. It
# connects, warms up, says "ready", measures when it is told to by a line on standard input, prints a line of JSON, and
# ends with standard input.

require "json"
require "optparse"
require "stepwell"
require_relative "workflows"

# Does nothing, as fast as a handler can.
class NoOp < Stepwell::StepHandler
  RESULT = [1] # rubocop:disable Style/MutableConstant -- set once, before a handler runs

  def call(_step)
    RESULT[0]
  end
end

# Notes when it starts.
class Noting < Stepwell::StepHandler
  STARTS = Queue.new

  def call(_step)
    STARTS << Process.clock_gettime(Process::CLOCK_MONOTONIC)
    1
  end
end

class Runner
  PATIENCE = 600

  def initialize(options)
    @options = options
    @mode = options[:mode]
    @payload = options[:payload]
    NoOp::RESULT[0] = Workflows.result(@payload)
    wait_in_handlers(options[:pause] / 1000.0) unless options[:pause].zero?
    @workflow = Workflows.define(options[:kind], @mode == "latency" ? Noting : NoOp)
    Stepwell.configure do |config|
      config.environment = "production"
      config.database_url = options[:url]
    end
  end

  def run
    start
    return (say("ready") && $stdin.gets) if @mode == "serve"

    finish(submit((@options[:tasks] / 10).clamp(5, 1000)))
    Noting::STARTS.clear
    send(@mode)
  ensure
    stop
  end

  private

  # As for another service. The same class, because a definition names it.
  def wait_in_handlers(seconds)
    NoOp.define_method(:call) { |_step| sleep(seconds) }
  end

  def start
    @orchestrator = Stepwell::Orchestrator.embedded if @options[:roles].include?("orchestrator")
    return unless @options[:roles].include?("worker")

    @worker = Stepwell::Worker.new(namespaces: "bench", concurrency: @options[:concurrency]).start
  end

  def stop
    @worker&.stop
    @orchestrator&.stop
  end

  def through
    say("ready") && $stdin.gets
    started = now
    ids = submit(@options[:tasks])
    submitted = now - started
    finish(ids)
    report(now - started, submitted)
  end

  def drain
    stop
    ids = submit(@options[:tasks])
    say("ready") && $stdin.gets
    started = now
    start
    finish(ids)
    report(now - started, nil)
  end

  def latency
    say("ready") && $stdin.gets
    samples = Array.new(@options[:tasks]) { |n| sample(n) }
    done(%i[start hop whole wait].to_h { |name| [name, samples.flat_map { |each| each.fetch(name) }] })
  end

  def sample(number)
    sleep(0.002 + ((number * 7919 % 10_000) / 1e6)) # not in step with anything that polls
    submitted = now
    task = Stepwell.submit(@workflow).wait(timeout: 60)
    ended = now
    clock = Process.clock_gettime(Process::CLOCK_REALTIME)
    starts = Array.new(Noting::STARTS.size) { Noting::STARTS.pop }
    raise "#{starts.size} handlers have started" unless starts.size == Workflows.steps(@options[:kind])

    milliseconds(start: [starts.first - submitted], hop: starts.each_cons(2).map { |one, other| other - one },
                 whole: [ended - submitted], wait: [clock - task.finished_at.to_f])
  end

  def milliseconds(parts)
    parts.transform_values { |seconds| seconds.map { |each| each * 1000 } }
  end

  def submit(tasks)
    request = { workflow: @workflow, context: Workflows.context(@payload), priority: @options[:priority] }
    Stepwell.submit_all([request] * tasks).map(&:id)
  end

  # By the link of the orchestrator of this process, where there is one.
  def finish(ids)
    client = Stepwell.connection.client
    client.wait(ids, PATIENCE.to_f)
    state = Stepwell.task(ids.last).state
    raise "a task is #{state}" unless state == :complete
  end

  def report(seconds, submit_seconds)
    done(seconds: seconds, submit_seconds: submit_seconds, steps: @options[:tasks] * Workflows.steps(@options[:kind]))
  end

  def done(measured)
    say(JSON.generate(measured)) && $stdin.gets
  end

  def say(line)
    $stdout.puts(line)
    $stdout.flush
    true
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end

options = { kind: "chain", mode: nil, roles: %w[orchestrator worker], concurrency: 10, tasks: 0, payload: 0, url: nil,
            priority: nil, pause: 0 }
OptionParser.new do |parser|
  parser.on("--url URL")
  parser.on("--kind KIND")
  parser.on("--mode MODE", %w[through drain latency serve])
  parser.on("--roles LIST", Array)
  parser.on("--concurrency N", Integer)
  parser.on("--tasks N", Integer)
  parser.on("--payload BYTES", Integer)
  parser.on("--priority NAME")
  parser.on("--pause MILLISECONDS", Integer)
end.parse!(into: options)
Runner.new(options).run
