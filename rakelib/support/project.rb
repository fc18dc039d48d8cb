# frozen_string_literal: true

require "rbconfig"
require_relative "../../bindings/ruby/cargo_env"

$stdout.sync = true # our lines and those of the programs we start stay in order
CargoEnv.apply # every cargo call below sees the same environment, or rb-sys and magnus are rebuilt each time

# Where things are, and how the tasks call cargo.
module Project
  ROOT = File.expand_path("../..", __dir__)
  TARGET = File.expand_path(ENV.fetch("CARGO_TARGET_DIR", "").then { |dir| dir.empty? ? "target" : dir }, ROOT)
  EXTENSION = File.join(ROOT, "ruby/lib/stepwell/stepwell_native.#{RbConfig::CONFIG["DLEXT"]}").freeze

  # A person sees cargo's progress bar; a log gets no list of 300 crates.
  QUIET = $stderr.tty? ? [] : ["--quiet"]

  module_function

  # @return [String] the version in Cargo.toml's [workspace.package]
  def cargo_version
    File.read(File.join(ROOT, "Cargo.toml"))[/^\[workspace\.package\].*?^version\s*=\s*"([^"]+)"/m, 1]
  end

  # @return [String] Stepwell::VERSION, read without loading the library
  def ruby_version
    File.read(File.join(ROOT, "ruby/lib/stepwell/version.rb"))[/VERSION\s*=\s*"([^"]+)"/, 1]
  end

  # @return [Boolean] whether `cargo NAME` exists
  def cargo_command?(name)
    !CargoEnv.on_path("cargo-#{name}").nil?
  end

  def heading(text)
    return if Rake.application.options.silent

    puts "", "── #{text} #{"─" * [72 - text.length, 3].max}"
  end
end
