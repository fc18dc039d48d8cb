# frozen_string_literal: true

# What the suite's own process and every process it starts see. Variables come after every file, so neither the
# application's file in config/ nor the shell that runs the specs changes them.
ENV.delete_if { |name, _| name == "DATABASE_URL" || name.start_with?("STEPWELL__", "PG") }
ENV["STEPWELL_ENV"] = "test"
# Programs of another PostgreSQL than the system's: rake test:postgres.
ENV["STEPWELL__EMBEDDED__BIN_DIR"] = ENV["STEPWELL_POSTGRES_BIN"] if ENV.key?("STEPWELL_POSTGRES_BIN")
ENV["STEPWELL__LOGGING__LEVEL"] = "warn"
ENV["STEPWELL__ORCHESTRATOR__POLLING_INTERVAL"] = "100ms"
ENV["STEPWELL__ORCHESTRATOR__CYCLE"] = "50ms"
ENV["STEPWELL__WORKER__POLLING_INTERVAL"] = "100ms"

require "bigdecimal"
require "stepwell"

# Many tasks here end in error on purpose, and each would say so.
Stepwell.logging(components: { task: :error })

module Specs
  ROOT = File.expand_path("..", __dir__)
end

Dir[File.join(__dir__, "support/*.rb")].each { |file| require file }

RSpec.configure do |config|
  config.disable_monkey_patching!
  config.expect_with(:rspec) { |expectations| expectations.max_formatted_output_length = 2_000 }
  config.include Specs::Patience
  config.include Specs::Databases
  config.include Specs::Processes
  config.include Specs::Fleets
  config.include Specs::Folders
  config.include Specs::Settings
  config.include Specs::Steps
end
