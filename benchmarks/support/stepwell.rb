# frozen_string_literal: true

require "rbconfig"

module Bench
  # How the processes of the product are started.
  module Stepwell
    ROOT = File.expand_path("../..", __dir__)
    TARGET = File.expand_path(ENV.fetch("CARGO_TARGET_DIR", "").then { |dir| dir.empty? ? "target" : dir }, ROOT)
    RUBY = [RbConfig.ruby, "-I", File.join(ROOT, "ruby/lib")].freeze
    RUNNER = [*RUBY, File.join(ROOT, "benchmarks/programs/runner.rb")].freeze
    RUST = File.join(TARGET, "release/stepwell-bench").freeze
    SERVE = [*RUBY, File.join(ROOT, "ruby/exe/stepwell"), "serve"].freeze

    # What a measurement of the product consists of. language: of the client and its worker; processes: workers, the
    # first of them with the client; serve: whether the orchestrator is a process of its own.
    Variant = Struct.new(:language, :processes, :serve) do
      def name
        "#{language}, #{processes} process#{"es" if processes > 1}, #{serve ? "serve" : "embedded"}"
      end
    end

    module_function

    def env(url)
      { "DATABASE_URL" => url, "STEPWELL_ENV" => "production", "STEPWELL__LOGGING__LEVEL" => "warn" }
    end

    # @return [Array<Contestant>] the one that measures first
    def start(variant, url, log:, **options)
      others = []
      others << Contestant.new(:orchestrator, SERVE, env: env(url), log: log) if variant.serve
      roles = variant.serve ? "worker" : "orchestrator,worker"
      first = runner(variant.language, url, log: log, roles: roles, **options)
      (variant.processes - 1).times do
        others << runner(variant.language, url, log: log, roles: "worker", **options, mode: "serve")
      end
      [first, *others]
    end

    # @param language [String] "Ruby" or "Rust"
    def runner(language, url, log:, env: {}, **options)
      arguments = { url: url, **options }.flat_map { |name, value| ["--#{name}", value.to_s] }
      command = language == "Ruby" ? [*RUNNER, *arguments] : [RUST, "run", *arguments]
      Contestant.new(language.downcase.to_sym, command, env: self.env(url).merge(env), log: log)
    end

    # @param options [Hash] of benchmarks/rust/src/floor.rs
    def floor(url, log:, **options)
      arguments = { url: url, **options }.flat_map { |name, value| ["--#{name}", value.to_s] }
      Contestant.new(:floor, [RUST, "floor", *arguments], env: env(url), log: log)
    end
  end
end
