# frozen_string_literal: true

require_relative "ruby/lib/stepwell/version"

Gem::Specification.new do |spec|
  spec.name = "stepwell"
  spec.version = Stepwell::VERSION
  spec.authors = ["The Stepwell authors"]
  spec.summary = "Durable workflows for Ruby on PostgreSQL"
  spec.description = "A workflow is a DAG of steps: a Rust core orchestrates, pgmq queues in PostgreSQL carry the " \
                     "messages, Ruby workers execute. No other server."
  spec.homepage = "https://github.com/stepwell/stepwell"
  spec.license = "MIT"
  spec.required_ruby_version = ">= 3.0"
  spec.metadata = {
    "source_code_uri" => spec.homepage,
    "bug_tracker_uri" => "#{spec.homepage}/issues",
    "changelog_uri" => "#{spec.homepage}/blob/main/CHANGELOG.md",
    "rubygems_mfa_required" => "true"
  }

  # The extension is built where the gem is installed, so the gem carries the whole Rust workspace, of which cargo asks
  # for each member.
  spec.files = Dir.chdir(__dir__) do
    Dir["Cargo.{toml,lock}", "{README,CHANGELOG,ARCHITECTURE}.md", "LICENSE", ".yardopts",
        "{bindings,config,crates,migrations,ruby,benchmarks/rust}/**/*"]
      .select { |path| File.file?(path) }
      .grep_v(%r{\.(so|bundle|o)\z|(\A|/)(target|Makefile|mkmf\.log)(/|\z)})
  end
  spec.require_paths = ["ruby/lib"]
  spec.bindir = "ruby/exe"
  spec.executables = Dir[File.join(__dir__, "ruby/exe/*")].map { |path| File.basename(path) }
  spec.extensions = ["bindings/ruby/extconf.rb"]
end
