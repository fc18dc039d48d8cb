# frozen_string_literal: true

require "optparse"

module OrderFulfilment
  DEMO_BANNER = <<~TEXT
    Usage: bin/demo [options]

    Fulfils a file of orders with Stepwell: an embedded orchestrator (on your own
    database, if DATABASE_URL is set) and one Ruby worker.

  TEXT

  # The command line of bin/demo.
  DemoOptions = Struct.new(:orders, :limit, :concurrency, :timeout, keyword_init: true) do
    # @param arguments [Array<String>]
    # @param from [String] the folder that a relative file name is meant from
    # @return [DemoOptions]
    def self.parse(arguments, from:)
      options = new(orders: File.join(__dir__, "orders.jsonl"), limit: nil, concurrency: 10, timeout: 900)
      parser = options.parser(from)
      rest = parser.parse(arguments)
      raise OptionParser::InvalidArgument, rest.first unless rest.empty?
      raise OptionParser::InvalidArgument, "no such file: #{options.orders}" unless File.file?(options.orders)

      options
    rescue OptionParser::ParseError => e
      abort "#{e.message}\n\n#{parser}"
    end

    def parser(from)
      OptionParser.new do |opts|
        opts.banner = DEMO_BANNER
        opts.on("--orders FILE", "orders as JSON lines (default: #{File.basename(orders)} of the example)") do |file|
          self.orders = File.expand_path(file, from)
        end
        opts.on("--limit N", Integer, "only the first N orders") { |n| self.limit = positive(n) }
        opts.on("--concurrency N", Integer, "handlers that run at a time (default: 10)") do |n|
          self.concurrency = positive(n)
        end
        opts.on("--timeout SECONDS", Integer, "give up after this long (default: 900)") do |n|
          self.timeout = positive(n)
        end
        opts.on("-h", "--help", "show this") do
          puts opts
          exit
        end
      end
    end

    private

    def positive(number)
      number.positive? ? number : raise(OptionParser::InvalidArgument, "#{number} (it has to be 1 or more)")
    end
  end
end
