# frozen_string_literal: true

# A client that does what stands on its standard input, a command a line:
#   feed FIRST COUNT   submits that many tasks (0: until "stop") and waits for them; prints "fed COUNT ERRORS"
#   stop               ends the feeding
#   ping FIRST COUNT   submits one task after the other; prints "pong" and the milliseconds that each took to its end
# With CREWED it has an orchestrator and a worker in its process, and what it submits alone begins at once.
require "stepwell"
require_relative "crewed"
require_relative "definitions"
require_relative "feeder"

FaultWorkflows.define

def ping(number)
  started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  feeder = Feeder.new(ENV.fetch("ACKS"), 1, 1)
  feeder.wait(feeder.submit([number]))
  ((Process.clock_gettime(Process::CLOCK_MONOTONIC) - started) * 1000).round
end

def obey
  feeder = nil
  while (line = $stdin.gets)
    command, first, count = line.split
    case command
    when "feed"
      feeder = Feeder.new(ENV.fetch("ACKS"), Integer(ENV.fetch("WINDOW", "10")), Integer(ENV.fetch("BATCH", "5")))
      Thread.new { puts "fed #{feeder.run(first.to_i, count.to_i)} #{feeder.errors}" }
    when "stop" then feeder.stop
    when "ping" then puts "pong #{Array.new(count.to_i) { |n| ping(first.to_i + n) }.join(" ")}"
    end
  end
end

if ENV.key?("CREWED")
  crewed { obey }
else
  puts "started #{Time.now.to_i}"
  obey
end
