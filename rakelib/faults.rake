# frozen_string_literal: true

require "tempfile"
require_relative "support/fault_table"

namespace :test do
  desc "Break processes, connections and PostgreSQL at length (about 20 minutes), and print what became of the tasks"
  task faults: %w[compile faults:rust faults:processes]

  # Races of sessions, random histories against the model, odd calls: races.rs, properties.rs, sql_fuzz.rs in tests/.
  # They run side by side: each waits for the database most of the time.
  task "faults:rust" do
    Project.heading "races, random histories and odd calls"
    sh({ "STEPWELL_FAULTS" => "full" }, "cargo", "nextest", "run", "-p", "stepwell", "--status-level", "slow",
       "-E", "binary(races) | binary(properties) | binary(sql_fuzz)")
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
