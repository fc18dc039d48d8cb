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

  it "refuses settings of the environment that are wrong, naming them" do
    { "STEPWELL__WORKER__LEASE" => ["60", /60 needs a unit, such as 60s or 60ms/],
      "STEPWELL__WORKER__LEESE" => ["60s", /leese/],
      "STEPWELL__WORKER__CONCURRENCY" => ["0", /worker.concurrency = 0: must be from 1/],
      "STEPWELL_ENV" => ["staging", /environment "staging" is none of test, development, production/] }
      .each do |name, (value, message)|
        with_variables(name => value) do
          expect { Stepwell.configuration.load }.to raise_error(Stepwell::ConfigurationError, message)
        end
      end
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

    expect(lines.string).to match(/INFO -- : weighing task=#{task.id} step=only attempt=1$/)
    expect(lines.string).to match(/DEBUG -- : by block task=#{task.id} step=only attempt=1$/)
  end
end
