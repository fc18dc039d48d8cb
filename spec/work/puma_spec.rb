# frozen_string_literal: true

require "spec_helper"
require "socket"

# A real cluster of Puma: two processes forked from one that has loaded the application.
RSpec.describe "a Puma cluster", if: Gem::Specification.find_all_by_name("puma").any? do
  app = <<~RUBY
    #{Specs::Fleets::APPLICATION}
    early = EARLY
    run(lambda do |env|
      answer = case env["PATH_INFO"]
               when "/order" then Stepwell.submit("spec/quick").wait(timeout: 20).result(:only)
               when "/early" then early.refresh.state
               end
      [200, {}, ["\#{Process.pid} \#{answer}"]]
    rescue Stepwell::Error => e
      [500, {}, ["\#{Process.pid} \#{e.class}: \#{e.message}"]]
    end)
  RUBY
  embedded = <<~RUBY
    on_worker_boot do
      $orchestrator = Stepwell::Orchestrator.embedded
      $worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 2).start
    end
    on_worker_shutdown do
      $worker.stop
      $orchestrator.stop
    end
  RUBY

  # @param settings [String] of Puma
  # @param early [String] Ruby: what the application does while it is loaded, before the forks
  define_method(:start_puma) do |settings: embedded, early: "nil", **options|
    File.write(File.join(folder, "config.ru"), app.sub("EARLY", early))
    File.write(File.join(folder, "puma.rb"), <<~RUBY)
      bind "unix://#{folder}/socket"
      rackup "#{folder}/config.ru"
      workers 2
      threads 2, 2
      preload_app!
      raise_exception_on_sigterm false
      #{settings}
    RUBY
    run_ruby("require 'puma/cli'; Puma::CLI.new(['-C', '#{folder}/puma.rb']).run", **options)
      .tap { |process| eventual_children(process, 2) }
  end

  # @return [Array(Integer, String)] the process that answered, and the answer
  def get(path)
    socket = eventually { open_socket }
    socket.write("GET #{path} HTTP/1.0\r\n\r\n")
    pid, text = socket.read[/\r\n\r\n(.*)/m, 1].to_s.split(" ", 2)
    [pid.to_i, text]
  ensure
    socket&.close
  end

  def open_socket
    UNIXSocket.new(File.join(folder, "socket"))
  rescue Errno::ENOENT, Errno::ECONNREFUSED
    nil
  end

  # Orders until each of these processes has been asked for one and has executed one.
  def expect_orders(pids)
    asked = []
    executed = []
    eventually(40, "orders of all processes") do
      web, step = Array.new(4) { Thread.new { get("/order") } }.map(&:value).transpose
      asked |= web
      executed |= step.map(&:to_i)
      (pids - asked).empty? && (pids - executed).empty?
    end
    expect(asked + executed - pids).to be_empty
  end

  it "has an orchestrator and a worker in each process, also in one that replaces another" do
    process = start_puma
    workers = eventual_children(process, 2)
    expect_orders(workers)
    Process.kill("KILL", workers.first)
    eventually { !alive?(workers.first) }
    expect_orders(eventual_children(process, 2))

    expect_end(process, "TERM")
    expect(psql("select count(*) from stepwell.tasks where state <> 'complete'")).to eq("0")
    expect(psql("select count(*) from stepwell.claims")).to eq("0")
    expect(psql("select count(*) from stepwell.step_attempts")).to eq("0")
  end

  it "shares a private PostgreSQL that the processes start, and the last one stops it" do
    process = start_puma(env: {}, chdir: folder)
    expect_orders(eventual_children(process, 2))
    expect(server_pid).not_to be_nil

    expect_end(process, "TERM")
    expect(server_pid).to be_nil
  end

  it "whose master used Stepwell before the fork starts clean, and what the master had is a clear error" do
    early = 'Stepwell.submit("spec/quick").tap { $early = Stepwell::Orchestrator.embedded; Thread.pass }'
    define_fleet_workflows
    start_orchestrator
    process = start_puma(early: early)
    workers = eventual_children(process, 2)
    expect_orders(workers)
    answers = Array.new(4) { get("/early") }

    message = "this object belongs to process #{process.pid} and does not survive its fork: make a new one in the child"
    expect(answers.map(&:last).uniq).to eq(["Stepwell::Error: #{message}"])
    expect(workers).to include(*answers.map(&:first))
    expect_end(process, "TERM")
  end
end
