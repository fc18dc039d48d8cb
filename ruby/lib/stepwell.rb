# frozen_string_literal: true

require "io/wait"
require "json"
require "logger"
require "pathname"
require "time"

require_relative "stepwell/version"
require_relative "stepwell/errors"

# Durable workflows on the PostgreSQL you already run: define a workflow as a DAG of steps, submit tasks, and let
# workers execute them.
module Stepwell
  # Net::HTTP is loaded for those who use it.
  autoload :ApiHandler, File.join(__dir__, "stepwell/api_handler")
end

require_relative "stepwell/stepwell_native"
require_relative "stepwell/json_value"
require_relative "stepwell/argument"
require_relative "stepwell/one_line"
require_relative "stepwell/running"
require_relative "stepwell/trap_context"
require_relative "stepwell/configuration"
require_relative "stepwell/step_handler"
require_relative "stepwell/workflow_builder"
require_relative "stepwell/registry"
require_relative "stepwell/step_execution"
require_relative "stepwell/failure"
require_relative "stepwell/delay"
require_relative "stepwell/tracing"
require_relative "stepwell/failed_attempt"
require_relative "stepwell/step"
require_relative "stepwell/event"
require_relative "stepwell/dead_letter"
require_relative "stepwell/queue_status"
require_relative "stepwell/task"
require_relative "stepwell/request_input"
require_relative "stepwell/registrations"
require_relative "stepwell/connection"
require_relative "stepwell/active_record_connections"
require_relative "stepwell/orchestrator"
require_relative "stepwell/worker"
require_relative "stepwell/api"
require_relative "stepwell/links"
require_relative "stepwell/logging"
require_relative "stepwell/fork_hooks"
require_relative "stepwell/operations"
require_relative "stepwell/metrics"
