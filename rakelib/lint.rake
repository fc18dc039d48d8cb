# frozen_string_literal: true

require_relative "support/sql_lint"

namespace :lint do
  desc "Formatting and clippy"
  task :rust do
    sh "cargo", "fmt", "--all", "--check"
    sh "cargo", "clippy", "--workspace", "--all-targets", *Project::QUIET, "--", "-D", "warnings"
  end

  desc "RuboCop"
  task :ruby do
    sh RbConfig.ruby, "-S", "rubocop", "--format", "simple"
  end

  desc "No SQL in Rust text that writes to our tables: that is a function in migrations/"
  task :sql do
    findings = SqlLint.check(Dir[File.join(Project::ROOT, "{crates,bindings}/**/*.rs")], root: Project::ROOT)
    abort "#{findings.join("\n")}\nWrites belong into a function in migrations/." unless findings.empty?
    puts "SQL: no write to stepwell.* in Rust text"
  end

  desc "The version in Cargo.toml and the one in version.rb agree"
  task :version do
    cargo = Project.cargo_version
    ruby = Project.ruby_version
    abort "Cargo.toml says #{cargo.inspect}, ruby/lib/stepwell/version.rb #{ruby.inspect}" unless cargo && cargo == ruby
    puts "version: #{cargo} in Cargo.toml and version.rb"
  end
end

desc "Check formatting and style: Rust, Ruby, SQL in Rust text, versions"
task :lint do
  Project.heading "lint"
  %w[version sql rust ruby].each { |name| Rake::Task["lint:#{name}"].invoke }
end
