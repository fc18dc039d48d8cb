# frozen_string_literal: true

# A worker until its standard input ends.
require "stepwell"
require_relative "definitions"

FaultWorkflows.define
worker = Stepwell::Worker.new(namespaces: ["faults"], concurrency: Integer(ENV.fetch("CONCURRENCY", "5"))).start
puts "started #{Time.now.to_i}"
$stdin.read
exit worker.stop(timeout: 10)
