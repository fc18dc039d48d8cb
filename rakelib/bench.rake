# frozen_string_literal: true

namespace :bench do
  # In release mode, whatever the profile of the gate: a figure of anything else means nothing.
  task build: :compile do
    Project.heading "bench"
    sh "cargo", "build", "--release", "-p", "stepwell-bench", *Project::QUIET
  end

  desc "Run every benchmark small: whether it works, not how fast (at most 3 minutes)"
  task quick: "bench:build" do
    sh RbConfig.ruby, "benchmarks/main.rb", "--quick"
  end
end
