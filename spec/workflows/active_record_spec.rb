# frozen_string_literal: true

require "spec_helper"

# In processes of their own: what ActiveRecord brings along must not help the other specs.
RSpec.describe "ActiveRecord", if: %w[activerecord pg].all? { |it| Gem::Specification.find_all_by_name(it).any? } do
  prelude = <<~RUBY
    require "active_record"
    ActiveRecord::Base.legacy_connection_handling = ENV.key?("APP_LEGACY") if ActiveRecord.version < Gem::Version.new("7.1")
    ActiveRecord::Base.establish_connection(
      adapter: "postgresql", host: ENV.fetch("APP_HOST"), database: ENV.fetch("APP_DATABASE"), username: "stepwell",
      pool: 5, checkout_timeout: 2
    )
    class Thing < ActiveRecord::Base; end
    def pool = ActiveRecord::Base.connection_pool
    def define(&code)
      handler = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| code.call(step) } }
      Stepwell.workflow("spec/single") { step :only, handler, max_attempts: 1 }
    end
    def run(tasks, concurrency)
      Stepwell::Orchestrator.embedded do
        worker = Stepwell::Worker.new(namespaces: "spec", concurrency: concurrency).start
        tasks = Stepwell.submit_all(Array.new(tasks) { { workflow: "spec/single" } })
        puts Stepwell.wait_all(tasks, timeout: 60).map(&:state).tally.inspect
        yield if block_given?
        worker.stop
      end
    end
  RUBY

  before { psql("create table public.things (id bigint generated always as identity primary key, name text)") }

  # @return [Hash{String => String}] of a process that uses this example's database in both ways
  def environment
    { "DATABASE_URL" => database_url, "APP_DATABASE" => database_url[%r{/(\w+)\?}, 1],
      "APP_HOST" => psql("show unix_socket_directories") }
  end

  it "lends its five connections to twenty threads, because each gives its own back after a step" do
    run = run_ruby(prelude + <<~RUBY, env: environment)
      define { |_| sleep 0.01; Thing.create!(name: "a").id }
      run(200, 20) { puts pool.stat.values_at(:busy, :dead, :size).inspect, pool.stat[:connections] <= 5 }
    RUBY
    expect(Array.new(3) { run.gets(90) }).to eq(["{:complete=>200}", "[0, 0, 5]", "true"])
    expect(run.wait).to be_success
    expect(psql("select count(*) from public.things")).to eq("200")
  end

  it "has them back also after steps that failed, took too long, or whose thread was killed" do
    run = run_ruby(prelude + <<~RUBY, env: environment)
      Stepwell.logging(level: :error)
      code = lambda do |step|
        Thing.count
        case step.context["how"]
        when "raise" then raise "no"
        when "exit" then exit
        when "kill" then Thread.current.kill
        when "sleep" then sleep
        end
      end
      handler = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| code.call(step) } }
      Stepwell.workflow("spec/single") { step :only, handler, max_attempts: 1, timeout: 1 }
      Stepwell::Orchestrator.embedded do
        worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 3).start
        hows = %w[raise exit kill sleep] * 3
        tasks = Stepwell.submit_all(hows.map { |how| { workflow: "spec/single", context: { how: how } } })
        puts Stepwell.wait_all(tasks, timeout: 60).map(&:state).tally.inspect, pool.stat[:busy] + pool.stat[:dead]
        worker.stop
      end
    RUBY
    expect(Array.new(2) { run.gets(90) }).to eq(["{:error=>12}", "0"])
    expect(run.wait).to be_success
  end

  it "goes on without a transaction that a handler left open: it is rolled back, and told" do
    run = run_ruby(prelude + <<~RUBY, env: environment)
      define do |_|
        open = Thing.connection.transaction_open?
        Thing.connection.begin_transaction
        Thing.create!(name: "lost")
        open
      end
      Stepwell.logger = Logger.new($stdout, level: :warn, formatter: ->(*, message) { "\#{message}\n" })
      Stepwell::Orchestrator.embedded do
        worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 1).start
        2.times { puts Stepwell.submit("spec/single").wait(timeout: 20).result(:only) }
        worker.stop
      end
      puts pool.stat[:connections]
    RUBY
    warning = "WORKER a handler left a transaction of ActiveRecord open, which is rolled back"
    expect(Array.new(5) { run.gets }.tally).to eq("false" => 2, warning => 2, "0" => 1)
    expect(run.wait).to be_success
    expect(psql("select count(*) from public.things")).to eq("0")
  end

  it "keeps the connection that a test lends to all threads, and its transaction" do
    run = run_ruby(prelude + <<~RUBY, env: environment)
      pool.lock_thread = true
      Thing.connection.begin_transaction(joinable: false)
      define { |_| Thing.create!(name: "fixture").name }
      run(5, 1)
      puts Thing.count, Thing.connection.transaction_open?
      Thing.connection.rollback_transaction
      puts Thing.count
    RUBY
    expect(Array.new(4) { run.gets }).to eq(["{:complete=>5}", "5", "true", "0"])
    expect(run.wait).to be_success
  end

  it "gives back the connections of all roles" do
    run = run_ruby(prelude + <<~RUBY, env: environment)
      reading = ActiveRecord::Base.connection_handler.establish_connection(pool.db_config.configuration_hash, role: :reading)
      define { |_| ActiveRecord::Base.connected_to(role: :reading) { Thing.count } + Thing.count }
      run(20, 10) { puts [pool, reading].map { |it| [it.stat[:busy], it.stat[:connections] > 0] }.inspect }
    RUBY
    expect(Array.new(2) { run.gets }).to eq(["{:complete=>20}", "[[0, true], [0, true]]"])
    expect(run.wait).to be_success
  end

  it "gives back those of a handler for each role, which applications have until Rails 7.0" do
    run = run_ruby(prelude + <<~RUBY, env: { **environment, "APP_LEGACY" => "1" })
      reading = ActiveRecord::ConnectionAdapters::ConnectionHandler.new
      ActiveRecord::Base.connection_handlers = { writing: ActiveRecord::Base.connection_handler, reading: reading }
      reading = reading.establish_connection(pool.db_config.configuration_hash)
      define { |_| ActiveRecord::Base.connected_to(role: :reading) { Thing.count } + Thing.count }
      run(20, 10) { puts [pool, reading].map { |it| [it.stat[:busy], it.stat[:connections] > 0] }.inspect }
    RUBY
    expect(Array.new(2) { run.gets }).to eq(["{:complete=>20}", "[[0, true], [0, true]]"])
    expect(run.wait).to be_success
  end

  it "is left alone where it is only announced" do
    run = run_ruby(<<~RUBY)
      require "active_record"
      code = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| 1 } }
      Stepwell.workflow("spec/single") { step :only, code }
      Stepwell::Orchestrator.embedded do
        worker = Stepwell::Worker.new(namespaces: "spec").start
        puts Stepwell.submit("spec/single").wait(timeout: 20).result(:only), ActiveRecord.autoload?(:Base).nil?
        worker.stop
      end
    RUBY
    expect(Array.new(2) { run.gets }).to eq(%w[1 false])
    expect(run.wait).to be_success
  end

  [1, 2].each do |processes|
    it "lends none for good to the thread that loads the application and runs its hooks, with #{processes} processes" do
      start_orchestrator
      fleet = start_fleet("--processes", processes, "-c", 20, definitions: prelude, code: <<~RUBY, env: environment)
        Thing.count
        Stepwell.after_fork { |_| Thing.count }
        define { |_| sleep 0.01; Thing.create!(name: "a"); pool.connections.count { |it| it.owner.equal?(Thread.main) } }
      RUBY
      eventually { psql("select count(*) from stepwell.workflows") == "1" }
      tasks = Stepwell.wait_all(Stepwell.submit_all(Array.new(100) { { workflow: "spec/single" } }), timeout: 60)
      expect(tasks.map { |task| task.result(:only) }.tally).to eq(0 => 100)
      expect_end(fleet, "TERM")
    end
  end
end
