# frozen_string_literal: true

require "tempfile"
require_relative "support/fault_table"

namespace :test do
  desc "Break processes, connections and PostgreSQL at length (about 20 minutes), and print what became of the tasks"
  task faults: %w[compile faults:rust faults:processes]

  # Races of sessions and random histories against the model: tests/races.rs, tests/properties.rs.
  task "faults:rust" do
    Project.heading "races and random histories"
    sh({ "STEPWELL_FAULTS" => "full" }, "cargo", "nextest", "run", "-p", "stepwell", "--status-level", "slow",
       "-E", "binary(races) | binary(properties)") # side by side: each waits for the database most of the time
  end

  task "faults:processes" do
    Project.heading "faults"
    Tempfile.create("faults") do |table|
      env = { "STEPWELL_FAULTS" => "full", "STEPWELL_FAULT_TABLE" => table.path }
      # With what was seen of it also when an example failed.
      sh(env, RbConfig.ruby, "-S", "rspec", "spec/faults") do |succeeded|
        puts FaultTable.render(table.path)
        abort "Some faults did harm." unless succeeded
      end
    end
  end
end
