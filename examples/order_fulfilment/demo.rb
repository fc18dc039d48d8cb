# frozen_string_literal: true

# Fulfils a file of orders and says how it went. bin/demo sets up, builds and calls this; see --help.

require_relative "demo_options"

options = OrderFulfilment::DemoOptions.parse(ARGV, from: ENV.fetch("STEPWELL_DEMO_FROM", Dir.pwd))

require "json"
require "logger"
require "securerandom"
require_relative "handlers"
require_relative "progress_bar"
require_relative "summary"
require_relative "dag_drawing"

module OrderFulfilment
  # One run: submit every order, wait with a progress bar, sum up.
  class Demo
    WORKFLOW = "fulfillment/process_order"
    WORKFLOWS = File.expand_path("../../config/workflows", __dir__)
    BATCH = 500

    def initialize(options)
      @options = options
      # Part of the idempotency keys: without it, a second run would be the same tasks as the first.
      @run = SecureRandom.hex(4)
      @orders = {} # task id => order id
    end

    # @return [Boolean] whether every order came to its end, complete or with a reason
    def call
      Stepwell.load_workflows(WORKFLOWS)
      Stepwell::Orchestrator.embedded do
        worker = Stepwell::Worker.new(namespaces: ["fulfillment"], concurrency: @options.concurrency).start
        begin
          @summary = fulfil
        ensure
          worker.stop(timeout: 20)
        end
      end
      !@summary.defects?
    end

    private

    def fulfil
      started = now
      tasks = submit
      abort "#{@options.orders}: no orders in it" if tasks.empty?

      tasks = wait(tasks, started)
      elapsed = now - started
      summary = tasks.each_with_object(Summary.new) { |task, all| all.add(@orders.fetch(task.id), task) }
      puts "", summary.lines(elapsed)
      draw(summary.sample)
      puts "", where_next(summary.sample)
      summary
    end

    def submit
      lines = File.foreach(@options.orders, encoding: "UTF-8").with_index(1)
      lines = lines.first(@options.limit) if @options.limit
      lines.each_slice(BATCH).flat_map do |batch|
        orders = batch.to_h { |line, number| [number, parse(line, number)] }
        submit_batch(orders).zip(orders.values).map do |task, order|
          @orders[task.id] = order["order_id"]
          task
        end
      end
    end

    def parse(line, number)
      JSON.parse(line)
    rescue JSON::ParserError => e
      abort "#{@options.orders}, line #{number}: not JSON (#{e.message.lines.first.strip})"
    end

    # @param orders [Hash{Integer => Hash}] line number => order
    def submit_batch(orders)
      Stepwell.submit_all(orders.map do |line, order|
        { workflow: WORKFLOW, context: order, idempotency_key: "demo-#{@run}-#{line}" }
      end)
    rescue Stepwell::ValidationError => e
      abort "#{@options.orders}, lines #{orders.keys.first} to #{orders.keys.last}: #{e.message}"
    end

    def wait(tasks, started)
      bar = ProgressBar.new(total: tasks.size, label: "orders", started: started)
      finished = Stepwell.wait_all(tasks, timeout: @options.timeout) { |done, _total| bar.update(done) }
      bar.finish
      finished
    end

    def draw(sample)
      puts "", "order #{sample.order_id}, task #{sample.task.id}"
      drawing = DagDrawing.new(sample.task.steps, colour: $stdout.tty?)
      drawing.lines.each { |line| puts "  #{line}" }
    end

    # With a database of the user's own the tables outlive the demo; the embedded one is asked through the library.
    def where_next(sample)
      id = sample.task.id
      look =
        if ENV["DATABASE_URL"].to_s.empty?
          "ruby -Iruby/lib -rstepwell -e 'Stepwell::Orchestrator.embedded { pp Stepwell.task(\"#{id}\").results }'"
        else
          "psql \"$DATABASE_URL\" -c \"select * from stepwell.task_status where task_id = '#{id}'\""
        end
      ["where to look next",
       "  this order     #{look}",
       "  the workflow   config/workflows/process_order.yml",
       "  its handlers   examples/order_fulfilment/handlers.rb",
       "  how it works   README.md, ARCHITECTURE.md"]
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end

# The failed orders are told in the summary; the log of each would run through the progress bar.
Stepwell.logger.level = Logger::ERROR
begin
  exit OrderFulfilment::Demo.new(options).call
rescue Interrupt
  abort "\nStopped. What was submitted stays in the database, and the next worker goes on with it."
rescue Stepwell::Error => e
  abort "\n#{e.class}: #{e.message}"
end
