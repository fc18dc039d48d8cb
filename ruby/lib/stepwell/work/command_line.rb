# frozen_string_literal: true

require "optparse"

module Stepwell
  module Work
    # What `stepwell work` was asked to do.
    # @api private
    Options = Struct.new(:paths, :namespaces, :concurrency, :processes, :memory_limit, :timeout, :environment, :pidfile,
                         :http, :start_timeout,
                         keyword_init: true) do
      # @return [Boolean] whether processes are forked and supervised. One without a memory limit needs nobody beside.
      def supervised?
        processes > 1 || !memory_limit.nil?
      end

      # @return [Worker] not started
      def worker
        Worker.new(namespaces: namespaces, concurrency: concurrency)
      end

      # @return [Hash{String => String}] what the application and Stepwell's configuration take the environment from
      def variables
        environment ? %w[STEPWELL_ENV RAILS_ENV RACK_ENV].to_h { |name| [name, environment] } : {}
      end
    end

    # The arguments behind `stepwell work`.
    # @api private
    module CommandLine
      SIZE = /\A(\d+(?:\.\d+)?)([KMG])(?:i?B)?\z/i
      UNITS = { "K" => 1024, "M" => 1024**2, "G" => 1024**3 }.freeze
      SECONDS = /\A(\d+(?:\.\d+)?)(ms|s|m|h)?\z/
      SCALES = { "ms" => 0.001, "s" => 1, "m" => 60, "h" => 3600, nil => 1 }.freeze

      SIGNALS = <<~TEXT

        TERM, INT and HUP stop it: nothing more is claimed, what runs has its time. QUIT and TSTP only
        quiet it: nothing more is claimed. TTIN logs what each thread does. Exit status: 0 it was told
        to stop and did; 1 it could not work, or processes had to be killed; 2 wrong usage.
      TEXT

      module_function

      # @param argv [Array<String>]
      # @return [Options, nil] nil when help was all that was asked for
      # @raise [Usage]
      def parse(argv)
        options = Options.new(paths: [], namespaces: [], processes: 1, timeout: 20.0, start_timeout: 60.0)
        parser = parser(options)
        left = parser.parse(argv.map(&:to_s))
        return help(parser) if options.paths.nil?
        raise Usage, "#{left.join(" ")}: not understood; see stepwell work --help" unless left.empty?

        options
      rescue OptionParser::ParseError => e
        raise Usage, "#{e.message}; see stepwell work --help"
      end

      def parser(options) # rubocop:disable Metrics/AbcSize -- one line an option
        OptionParser.new("Usage: stepwell work -r app.rb -n orders [options]", 32) do |parser|
          parser.separator "\nExecutes the steps of an application until it is told to stop.\n\n"
          parser.on("-r", "--require PATH", "the application: a Ruby file, a Rails application's folder, or a",
                    "folder of Ruby files; can be repeated. By default the Rails",
                    "application in the working directory") { |path| options.paths << path }
          parser.on("-n", "--namespace NAME", "whose steps: one, several with commas, or repeated. By default",
                    "every namespace of the application") { |names| options.namespaces.concat(names.split(",")) }
          parser.on("-c", "--concurrency N", "steps that one process executes at the same time (10, or as",
                    "configured)") { |text| options.concurrency = integer(text, 1..1000) }
          parser.on("-p", "--processes N", "processes, forked when the application is loaded; a dead one is",
                    "replaced (1: no fork)") { |text| options.processes = integer(text, 1..1000) }
          parser.on("-m", "--memory-limit SIZE", "of each process, as 512M or 1.5G: above it, a process finishes",
                    "what it runs and is replaced") { |text| options.memory_limit = size(text) }
          parser.on("-t", "--timeout SECONDS", "what runs has to finish when it is to stop; the rest is given",
                    "back (20)") { |text| options.timeout = seconds(text) }
          parser.on("--start-timeout SECONDS", "each process of several has to start; one that does not is killed and",
                    "replaced (60)") { |text| options.start_timeout = seconds(text) }
          parser.on("-e", "--environment NAME", "test, production, or any other") { |name| options.environment = name }
          parser.on("-P", "--pidfile FILE", "written while it works; a second one with the same file is",
                    "refused") { |path| options.pidfile = path }
          parser.on("--http PORT", "metrics and health of the first process at this port of this machine,",
                    "or at ADDRESS:PORT; of each other one at the next") { |text| options.http = listen(text) }
          parser.on("-h", "--help", "this") { options.paths = nil }
          parser.separator SIGNALS
        end
      end

      # What stays in Ruby's buffer would be lost without a word.
      def help(parser)
        puts(parser.help)
        $stdout.flush
        nil
      rescue Errno::EPIPE
        nil # whoever reads has read enough
      rescue SystemCallError => e
        raise Failed, "standard output: #{e.message}"
      end

      def listen(text)
        Endpoint.parse(text)
      rescue ConfigurationError => e
        raise OptionParser::InvalidArgument, e.message
      end

      def integer(text, range)
        number = Integer(text, 10, exception: false)
        return number if number && range.cover?(number)

        raise OptionParser::InvalidArgument, "#{text}: must be a number from #{range.min} to #{range.max}"
      end

      # @return [Integer] bytes
      def size(text)
        number, unit = SIZE.match(text)&.captures
        bytes = number && (Float(number) * UNITS.fetch(unit.upcase)).to_i
        return bytes if bytes&.positive?

        raise OptionParser::InvalidArgument, "#{text}: must be a size with its unit, as 512M or 1.5G"
      end

      def seconds(text)
        number, unit = SECONDS.match(text)&.captures
        return Float(number) * SCALES.fetch(unit) if number

        raise OptionParser::InvalidArgument, "#{text}: must be seconds, or a time with its unit, as 90s or 5m"
      end
    end
  end
end
