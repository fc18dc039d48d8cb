# frozen_string_literal: true

# bin/bench after it has set things up.

require "English"
require "optparse"
require "tempfile"

%w[statistics cluster contestant stepwell measurement filling context result targets peer report plot].each do |name|
  require_relative "support/#{name}"
end
%w[floor throughput latency fleets growth backlog payload logging soak peers].each { |name| require_relative name }

module Bench
  ALL = { "floor" => Floor, "throughput" => Throughput, "latency" => Latency, "fleets" => Fleets,
          "growth" => Growth, "backlog" => Backlog, "payload" => Payload,
          "logging" => Logging, "soak" => Soak, "peers" => Peers }.freeze

  # One run, from the command line to the report.
  class Run
    def initialize(arguments)
      @options = { quick: false, peers: false }
      @command = ["bin/bench", *arguments].join(" ")
      parser.parse!(arguments, into: @options)
      @names = arguments.empty? ? ALL.keys - [*("peers" unless peers?)] : arguments
      unknown = @names - ALL.keys
      abort "bin/bench: there is no #{unknown.join(", ")}; there are #{ALL.keys.join(", ")}" unless unknown.empty?
    end

    def call
      Cluster.open do |cluster|
        Tempfile.create("stepwell-bench-log") do |log|
          context = Context.new(cluster, log.path, @options)
          circumstances = Report.circumstances(cluster).merge(command: @command)
          results = @names.filter_map { |name| show(name, context) }
          judged = Targets.judge(results)
          puts "", @options[:quick] ? "No verdict: with --quick nothing is measured." : Report.targets(judged)
          write(circumstances, results, judged)
        end
      end
    end

    private

    # With --quick those that have been installed already.
    def peers?
      @options[:peers] || (@options[:quick] && File.directory?(Peer::INSTALLED))
    end

    def show(name, context)
      warn "#{name} …"
      result = ALL.fetch(name).run(context) or return
      puts "", "## #{name}", "", Report.table(result.headings, result.rows)
      result
    end

    def write(circumstances, results, judged)
      if @options[:json]
        data = circumstances.merge(targets: judged, results: results.to_h { |result| [result.name, result.data] })
        File.write(path(@options[:json]), JSON.pretty_generate(data))
      end
      return unless @options[:plot]

      machine = circumstances.fetch(:machine)
      note = "#{circumstances.fetch(:commit)}, #{machine.fetch(:cores)} cores, #{circumstances.fetch(:at)}"
      File.write(path(@options[:plot]), Plot.render(results.flat_map(&:charts), note))
    end

    # From where bin/bench was called.
    def path(file)
      File.expand_path(file, ENV.fetch("STEPWELL_BENCH_FROM", Dir.pwd))
    end

    def parser
      OptionParser.new do |parser|
        parser.banner = "bin/bench [NAME…] [options]: #{ALL.keys.join(", ")}; without a name all"
        parser.on("--quick", "everything small: whether it works, not how fast")
        parser.on("--peers", "install what is compared with, and compare")
        parser.on("--rounds N", Integer, "turns of each (5; 1 with --quick)")
        parser.on("--seconds N", Integer, "of the soak (600)")
        parser.on("--json FILE", "everything that was measured")
        parser.on("--plot FILE", "charts, SVG")
      end
    end
  end
end

Bench::Run.new(ARGV).call
