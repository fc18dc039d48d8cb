# frozen_string_literal: true

require "spec_helper"

RSpec.describe "Stepwell.configure" do
  it "says which database submits and workers use" do
    define_single { |_| 1 }
    Stepwell::Orchestrator.embedded(database_url: database_url) do |orchestrator|
      run = run_ruby(<<~RUBY, env: {})
        Stepwell.configure { |c| c.database_url = #{orchestrator.database_url.inspect} }
        one = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| "there" } }
        Stepwell.workflow("spec/there") { step :only, one }
        worker = Stepwell::Worker.new(namespaces: "spec").start
        puts Stepwell.submit("spec/there").wait(timeout: 20).result(:only)
        worker.stop
      RUBY
      expect(run.gets).to eq("there")
      expect(run.wait).to be_success
    end
  end

  it "says that there is no database, and what to do" do
    Stepwell.configure { |c| c.embedded_directory = folder } # not the one that a demo has left in the working directory
    expect { Stepwell.submit("spec/single") }
      .to raise_error(Stepwell::ConfigurationError, /no database: set DATABASE_URL, or Stepwell.configure .* or start/)
    expect { start_worker(database_url: nil) }.to raise_error(Stepwell::ConfigurationError, /no database/)
    expect { Stepwell.task("0190b5a0-0000-7000-8000-000000000000") }.to raise_error(Stepwell::ConfigurationError)
  end

  it "returns the configuration, and takes a lease in seconds" do
    configuration = Stepwell.configure { |c| c.lease = 1.5 }

    expect(configuration.lease).to eq(1.5)
    expect(Stepwell.configure).to be(configuration)
    configuration.lease = 0.1
    expect { configuration.load }.to raise_error(Stepwell::ConfigurationError, /worker.lease = 100ms: must be at least/)
  end

  it "sets any setting: durations in seconds or as texts" do
    run = run_ruby(<<~RUBY, env: {})
      Stepwell.configure do |c|
        c.lease = 90
        c.worker.prefetch = 1/8r
        c.set("retention" => { failed: "never" }, worker: { concurrency: 3 }, namespaces: { a: "postgres://b:c@d/e" })
      end
      puts Stepwell.configure.worker.lease, Stepwell.configure.lease, Stepwell.configure.worker.claim_batch.inspect
      puts Stepwell.config[:worker].values_at(:lease, :prefetch, :concurrency).map(&:to_s).inspect
      puts Stepwell.config.dig(:retention, :failed), Stepwell.config.dig(:namespaces, :a, :database_url)
      puts Stepwell.config.dig(:orchestrator, :request_batch), Stepwell.configure.worker.inspect
      Stepwell.configure.worker.lease = nil
      puts Stepwell.config.dig(:worker, :lease)
    RUBY
    expect(Array.new(9) { run.gets }).to eq(
      ["90", "90", "nil", %w[90s 125ms 3].to_s, "never", "postgres://b:***@d/e", "500",
       '#<Stepwell::Configuration::Section worker {"lease":90,"prefetch":0.125,"concurrency":3}>', "60s"]
    )
    expect(run.wait).to be_success
  end

  it "refuses what the program sets wrongly, with what is allowed and what may have been meant" do
    fresh = Stepwell::Configuration.new
    expect { fresh.worker.leese = 1 }.to raise_error(NoMethodError)
    { { worker: { leese: 1 } } => /Stepwell.configure: unknown key worker.leese = 1; did you mean worker.lease\?/,
      { wroker: { lease: 1 } } => /did you mean worker.lease\? \(the sections are database, namespaces,/,
      { worker: 5 } => /worker = 5: is a section, not a value/ }.each do |settings, message|
      expect { fresh.set(settings) }.to raise_error(Stepwell::ConfigurationError, message)
    end
    fresh.set(worker: { lease: 1, prefetch: 2 }, orchestrator: { polling_interval: 0 })
    expect { fresh.load }.to raise_error(
      Stepwell::ConfigurationError,
      /orchestrator.polling_interval = 0s: must be at least 1ms.*worker.prefetch = 2s: must be less than worker.lease/
    )
  end

  it "refuses at once what is wrong, and changes nothing" do
    Stepwell.configure { |c| c.worker.lease = 90 }
    before = Stepwell.config
    { ->(c) { c.worker.lease = 0.000001 } => /worker.lease = 1us: must be at least 300ms/,
      ->(c) { c.worker.lease = -5 } => /worker.lease = -5s: "-5s" is no duration/,
      ->(c) { c.worker.lease = Float::INFINITY } => /worker.lease = never: must be a duration with its unit/,
      ->(c) { c.worker.lease = Float::NAN } => /worker.lease: the value: NaN is no number of seconds/,
      ->(c) { c.worker.lease = Time.at(0) } => /\AStepwell.configure: worker.lease: is not JSON: a Time/,
      ->(c) { c.worker.lease = "\xFF" } => /worker.lease: is not JSON: a String that is not UTF-8/,
      ->(c) { c.masking.keys = ["pin", "\xFF".b] } => /\AStepwell.configure: .*/,
      ->(c) { c.worker.concurrency = 1.5 } => /worker.concurrency = 1.5: must be a whole number, and not negative/,
      ->(c) { c.worker.concurrency = -1 } => /worker.concurrency = -1: must be a whole number, and not negative/,
      ->(c) { c.worker.concurrency = Float::INFINITY } => /worker.concurrency = [\de+.]+: must be a whole number/,
      ->(c) { c.worker.concurrency = 2**70 } => /worker.concurrency = [\de+.]+: must be a whole number/,
      ->(c) { c.namespaces = { "A b" => "postgres://a@b/c" } } => /A b/,
      ->(c) { c.namespaces = { spare: "\xFF" } } => /\AStepwell.configure: what is set is not JSON: .*spare/,
      ->(c) { c.environment = "\xFF" } => /environment: .* is not UTF-8/ }.each do |change, message|
      expect do
        Stepwell.configure do |c|
          c.worker.prefetch = 1
          c.namespaces = { spare: "postgres://a@b/c" }
          change.call(c)
        end
      end.to raise_error(Stepwell::Error, message)
      c = Stepwell.configure
      expect([Stepwell.config, c.namespaces, c.worker.prefetch]).to eq([before, nil, nil])
    end
    expect { Stepwell.configure { |c| (c.lease = 80) && raise("its own error") } }.to raise_error("its own error")
    expect(Stepwell.configure.lease).to eq(90)
  end

  it "is checked as a whole, so that what fits together may come one after the other" do
    Stepwell.configure do |c|
      c.worker.lease = 0.5 # less than the prefetch that was in force
      c.worker.prefetch = 0.1
      c.orchestrator.cycle = 0.2
      c.retention.finished = Float::INFINITY
      c.retention.failed = 1e19
    end

    expect(Stepwell.config[:worker].slice(:lease, :prefetch)).to eq(lease: "500ms", prefetch: "100ms")
    expect(Stepwell.config[:retention].slice(:finished, :failed)).to eq(finished: "never", failed: "never")
  end

  it "gives each thread the settings that it asked for" do
    urls = %w[a b].map { |name| "postgres://app@localhost/#{name}" }
    load = Stepwell::Configuration.instance_method(:load)
    loaded = TracePoint.new(:line) { Thread.pass }.enable(target: load) do # or they would hardly ever meet in there
      threads = urls.map do |url|
        Thread.new { Array.new(300) { Stepwell.configuration.load(database_url: url).database_url }.uniq }
      end
      threads.map(&:value)
    end

    expect(loaded).to eq(urls.map { |url| [url] })
  end

  it "reads the application's files, that of the environment over the other, and names them in errors" do
    FileUtils.mkdir_p(File.join(folder, "config/environments"))
    File.write(File.join(folder, "config/stepwell.yml"), "worker: {lease: 90s, claim_batch: 7}\n")
    File.write(File.join(folder, "config/environments/test.yml"), "worker: {lease: 80s}\n")
    script = 'puts Stepwell.config[:worker].values_at(:lease, :claim_batch).join(" ")'
    run = run_ruby(script, env: {}, chdir: folder)
    expect(run.gets).to eq("80s 7")
    expect(run.wait).to be_success

    File.write(File.join(folder, "config/environments/test.yml"), "worker: {lease: fast}\n")
    script = "begin; Stepwell.config; rescue Stepwell::ConfigurationError => e; puts e.message; end"
    run = run_ruby(script, env: {}, chdir: folder)
    expect(run.gets).to match(%r{config/environments/test.yml: worker.lease = fast: "fast" is no duration such as})
    expect(run.wait).to be_success
  end

  it "refuses settings of the environment that are wrong, naming them" do
    { "STEPWELL__WORKER__LEASE" => ["60", /60 needs a unit, such as 60s or 60ms/],
      "STEPWELL__WORKER__LEESE" => ["60s", /STEPWELL__WORKER__LEESE: unknown .*did you mean STEPWELL__WORKER__LEASE\?/],
      "STEPWELL__TELEMETRY" => ["x", /STEPWELL__TELEMETRY: unknown key telemetry = x/],
      "STEPWELL__WORKER__CONCURRENCY" => ["0", /worker.concurrency = 0: must be from 1/],
      "STEPWELL_ENV" => ["../staging", %r{environment "../staging": must be a name of 1 to 64 letters}] }
      .each do |name, (value, message)|
        with_variables(name => value) do
          expect { Stepwell.configuration.load }.to raise_error(Stepwell::ConfigurationError, message)
        end
      end
  end

  it "says once that an environment of another name has the settings of production" do
    script = <<~RUBY
      2.times { Stepwell.config }
      Stepwell.configure { |c| c.worker.lease = 90 }
      print Stepwell.config.dig(:orchestrator, :polling_interval)
    RUBY
    variables = { "STEPWELL_ENV" => nil, "RAILS_ENV" => "review-42", "STEPWELL__LOGGING__LEVEL" => nil,
                  "STEPWELL__ORCHESTRATOR__POLLING_INTERVAL" => nil }
    out, err, = Open3.capture3(variables, RbConfig.ruby, "-I", File.join(Specs::ROOT, "ruby/lib"), "-r", "stepwell",
                               "-e", script, chdir: folder)

    expect(out).to eq("200ms")
    expect(err.scan("environment review-42: the settings of production").size).to eq(1)
    expect(err.lines.size).to eq(1)
  end

  it "takes the worker's concurrency from the environment, and refuses other arguments" do
    with_variables("STEPWELL__WORKER__CONCURRENCY" => "3") do
      expect(Stepwell::Worker.new(namespaces: :spec)).to have_attributes(concurrency: 3, namespaces: ["spec"])
    end
    [0, 1001, "4", 1.5].each do |concurrency|
      expect { Stepwell::Worker.new(namespaces: "spec", concurrency: concurrency) }
        .to raise_error(Stepwell::ValidationError, /concurrency: .* must be an Integer from 1 to 1000/)
    end
    expect { Stepwell::Worker.new(namespaces: []) }.to raise_error(Stepwell::ValidationError, /name at least one/)
  end

  it "logs where Stepwell.logger says, each line marked with its step" do
    lines = logged
    define_single do |step|
      step.logger.info("weighing")
      step.logger.debug { "by block" }
    end
    start_stepwell
    task = Stepwell.submit("spec/single").wait(timeout: 20)

    expect(lines.string).to match(/INFO -- : STEP weighing task=#{task.id} step=only attempt=1$/)
    expect(lines.string).to match(/DEBUG -- : STEP by block task=#{task.id} step=only attempt=1$/)
  end
end
