# frozen_string_literal: true

# An orchestrator until its standard input ends; then prints "applied" and how many results made a step complete.
require "stepwell"

orchestrator = Stepwell::Orchestrator.embedded
puts "started #{Time.now.to_i}"
$stdin.read
puts "applied #{orchestrator.status[:summary][:steps_completed]}"
orchestrator.stop
