# frozen_string_literal: true

# Builds the native half of the gem with cargo: through rb_sys where that gem is installed (it cross-compiles),
# otherwise by a Makefile of our own, so that `gem install` needs nothing but cargo, make and libclang.

require "rbconfig"
require_relative "cargo_env"

CARGO = ENV["CARGO"] || CargoEnv.on_path("cargo") ||
        [File.join(Dir.home, ".cargo/bin/cargo")].find { |path| File.executable?(path) }
unless CARGO
  abort <<~MESSAGE
    stepwell has a Rust extension, and cargo was not found.
    Install Rust (https://rustup.rs), put cargo on PATH or its path in CARGO, and try again.
  MESSAGE
end

def rb_sys?
  require "mkmf"
  require "rb_sys/mkmf"
  true
rescue LoadError
  false
end

# @return [String] a word that neither make nor the shell takes apart
def quoted(word)
  "'#{word.gsub("'", "'\\\\''").gsub("$", "$$")}'"
end

# @return [String] the text of a Makefile with the targets RubyGems calls: clean, all, install
def makefile(root:, target:, own_target:, ruby:)
  config = RbConfig::CONFIG
  built = File.join(target, *ENV.fetch("CARGO_BUILD_TARGET", nil), "release", "libstepwell_native.#{config["SOEXT"]}")
  environment = { "RUBY" => ruby, "CARGO_TARGET_DIR" => target }.compact.map do |name, value|
    "#{name}=#{quoted(value)}"
  end
  <<~MAKE
    # Written by extconf.rb.
    SHELL = /bin/sh
    sitearchdir = #{config["sitearchdir"]}
    DESTDIR =
    FOLDER = $(DESTDIR)$(sitearchdir)/stepwell
    EXTENSION = $(FOLDER)/stepwell_native.#{config["DLEXT"]}
    BUILD = #{environment.join(" ")} #{quoted(CARGO)} build --release -p stepwell-ruby --locked

    .PHONY: all install clean distclean

    all:
    \tcd #{quoted(root)} && $(BUILD)

    install: all
    \tmkdir -p "$(FOLDER)"
    \trm -f "$(EXTENSION)"
    \tcp #{quoted(built)} "$(EXTENSION)"
    \t#{own_target ? "rm -rf #{quoted(target)}" : "@true"}

    # RubyGems calls clean before all: the Makefile stays.
    clean:
    \t#{own_target ? "rm -rf #{quoted(target)}" : "@true"}

    distclean: clean
    \trm -f Makefile
  MAKE
end

if rb_sys?
  create_rust_makefile("stepwell/stepwell_native") do |config|
    config.profile = :release
    config.extra_cargo_args += ["--locked"]
  end
else
  own_target = ENV.fetch("CARGO_TARGET_DIR", "").empty?
  target = File.expand_path(own_target ? "target" : ENV.fetch("CARGO_TARGET_DIR"))
  File.write("Makefile", makefile(root: File.expand_path("../..", __dir__), own_target: own_target, target: target,
                                  ruby: CargoEnv.ruby))
end
