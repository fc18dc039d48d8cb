# frozen_string_literal: true

# An orchestrator and a worker in one process, until its standard input ends: results go past the queue, and what
# they make ready comes back with the answer.
require "stepwell"
require_relative "definitions"

FaultWorkflows.define
orchestrator = Stepwell::Orchestrator.embedded
worker = Stepwell::Worker.new(namespaces: ["faults"], concurrency: Integer(ENV.fetch("CONCURRENCY", "5"))).start
puts "started #{Time.now.to_i}"
$stdin.read
stopped = worker.stop(timeout: 10)
orchestrator.stop
exit stopped
