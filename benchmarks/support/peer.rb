# frozen_string_literal: true

require "json"

module Bench
  # Something that Stepwell is compared with: a program in benchmarks/peers, and whether what it needs is there.
  class Peer
    FOLDER = File.expand_path("../peers", __dir__)
    INSTALLED = File.join(Stepwell::TARGET, "peers")
    PACKAGES = File.join(INSTALLED, "node/node_modules")
    NODE = [File.join(PACKAGES, "node/bin/node")].freeze
    PYTHON = [File.join(INSTALLED, "venv/bin/python")].freeze

    attr_reader :name, :mode

    # @param program [String] file in benchmarks/peers
    # @param package [String] whose version it is
    # @param tasks [Integer] in a round
    # @param needs [Array<String>] programs on PATH, or files in target/peers
    def initialize(name, program, package, mode:, tasks:, needs: [])
      @name = name
      @program = File.join(FOLDER, program)
      @package = package
      @mode = mode
      @tasks = tasks
      @needs = needs
    end

    # @return [String, nil] why it cannot be measured
    def absent
      return if version && @needs.all? { |need| there?(need) }

      log = File.join(INSTALLED, "#{installer}.log")
      return "#{@package} is not installed (bin/bench --peers installs it)" unless File.exist?(log)

      "#{@package} could not be installed: #{File.readlines(log, chomp: true).last}"
    end

    # @return [String, nil]
    def version
      case installer
      when "npm" then JSON.parse(File.read(File.join(PACKAGES, @package, "package.json")))["version"]
      when "pip"
        about = Dir[File.join(INSTALLED, "venv/lib/*/site-packages/#{@package}-*.dist-info")].first
        about && about[/-([\d.]+)\.dist/, 1]
      else Gem::Specification.find_all_by_name(@package).first&.version&.to_s
      end
    rescue Errno::ENOENT
      nil
    end

    # @return [Contestant] on that database
    def start(cluster, database, log:, quick:)
      prepare(cluster, database)
      tasks = quick ? [@tasks / 20, 20].max : @tasks
      arguments = ["--mode", mode, "--tasks", tasks.to_s, "--packages", PACKAGES, "--url", url(cluster, database)]
      Contestant.new(:worker, [*interpreter, @program, *arguments], env: cluster.environment(database), log: log)
    end

    private

    def there?(need)
      File.exist?(File.join(INSTALLED, need)) ||
        ENV.fetch("PATH").split(":").any? { |folder| File.executable?(File.join(folder, need)) }
    end

    def installer
      { ".mjs" => "npm", ".py" => "pip", ".rb" => "apt" }.fetch(File.extname(@program))
    end

    def interpreter
      { "npm" => NODE, "pip" => PYTHON, "apt" => [RbConfig.ruby] }.fetch(installer)
    end

    # The clients of Node.js do not know a socket in a URL; where they take no pool, they are given the loopback.
    def url(cluster, database)
      installer == "npm" ? cluster.loopback_url(database) : cluster.url(database)
    end

    def prepare(cluster, database)
      return unless @needs.include?("absurd.sql")

      cluster.query(File.read(File.join(INSTALLED, "absurd.sql")), database: database)
    end
  end
end
