# frozen_string_literal: true

namespace :test do
  desc "Run the Rust tests"
  task :rust do
    Project.heading "Rust tests"
    if Project.cargo_command?("nextest")
      sh "cargo", "nextest", "run", "--workspace", "--status-level", "slow", "--final-status-level", "fail",
         *Project::QUIET.map { "--cargo-quiet" }
      sh "cargo", "test", "-p", "stepwell", "--doc", *Project::QUIET
    else
      sh "cargo", "test", "--workspace", *Project::QUIET
    end
  end
end

desc "Run the specs (SPEC=path for some of them)"
task spec: :compile do
  Project.heading "specs"
  sh RbConfig.ruby, "-S", "rspec", *ENV.fetch("SPEC", "").split
end

desc "Run the Rust tests and the specs"
task test: %w[test:rust spec]
