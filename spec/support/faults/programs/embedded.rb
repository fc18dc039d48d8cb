# frozen_string_literal: true

# An orchestrator and a worker in one process, until its standard input ends: results go past the queue, and what
# they make ready comes back with the answer.
require "stepwell"
require_relative "definitions"
require_relative "crewed"

FaultWorkflows.define
crewed { $stdin.read }
