# frozen_string_literal: true

module Specs
  # Scripts of processes that have one part of the work each, for connections and roles that differ.
  module WherePrograms
    ORCHESTRATOR = <<~RUBY
      orchestrator = Stepwell::Orchestrator.embedded
      puts "started"
      $stdin.read
      orchestrator.stop
    RUBY

    WORKFLOW = <<~RUBY
      first = Class.new(Stepwell::StepHandler) do
        define_method(:call) do |step|
          step.heartbeat({ "at" => "first" })
          raise "once more" if step.attempt == 1
          IO.select(nil, nil, nil, 1.3) if step.context["n"].zero? # longer than a lease of one second
          step.context["n"] + 1 + ((step.attempt - 2) * 1000) # a lost lease shows
        end
      end
      second = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| step.results["first"] * 2 } }
      Stepwell.workflow("where/chain", input_schema: { type: "object", required: ["n"] }) do
        step :first, first, backoff: { base: 0.01, cap: 0.05 }
        step :second, second, depends_on: :first
      end
    RUBY

    WORKER = <<~RUBY.freeze
      #{WORKFLOW}
      worker = Stepwell::Worker.new(namespaces: ["where"], concurrency: 4).start
      puts "started"
      $stdin.read
      worker.stop
    RUBY

    # A line it reads is how many tasks to submit; it prints their results and how many seconds they took.
    CLIENT = <<~RUBY.freeze
      #{WORKFLOW}
      puts "started"
      while (line = $stdin.gets)
        started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        tasks = Stepwell.submit_all(Array.new(line.to_i) { |n| { workflow: "where/chain", context: { n: n } } })
        Stepwell.wait_all(tasks, timeout: 60)
        took = Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
        puts "\#{tasks.map { |task| task.result(:second) }.inspect} \#{took}"
      end
      paused = Stepwell.submit("where/chain", { n: 1 })
      puts "\#{paused.cancel(reason: "enough").state} \#{Stepwell.task(paused.id).events.map(&:kind).inspect}"
    RUBY

    # @return [RubyProcess] that has started
    def start_program(script, **env)
      run_ruby(script, env: env.transform_keys(&:to_s)).tap { |process| expect(process.gets).to eq("started") }
    end

    # @param of [Hash{Symbol => Hash}] environments of one of the three, on top of the common one
    # @param env [Hash{Symbol => String}] the common environment
    # @return [Array<RubyProcess>] an orchestrator, a worker and a client that have started
    def start_crew(of: {}, **env)
      { orchestrator: ORCHESTRATOR, worker: WORKER, client: CLIENT }.map do |name, script|
        start_program(script, **env, **of.fetch(name, {}))
      end
    end

    # Submits tasks by a client, which must get their results.
    # @return [Float] seconds until all had finished
    def run_tasks(client, count)
      client.puts(count)
      results, took = client.gets(90).to_s.split(/ (?=[\d.]+\z)/)
      expect(results).to eq(Array.new(count) { |n| (n + 1) * 2 }.inspect)
      took.to_f
    end

    # Lets the client cancel a task, and all end in order.
    def finish_crew(orchestrator, worker, client)
      client.close
      expect(client.gets).to match(/\A(cancelled \[:cancel\]|complete \[\])\z/)
      expect([client, worker, orchestrator].map(&:wait)).to all(be_success)
    end
  end
end
