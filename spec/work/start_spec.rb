# frozen_string_literal: true

require "spec_helper"
require "stepwell/work"

RSpec.describe "stepwell work that cannot start" do
  nothing = 'require "stepwell"'

  def expect_failure(process, message, status: 1)
    expect(process.ended.exitstatus).to eq(status)
    expect(process.errors).to match(message)
    expect(children_of(process.pid)).to be_empty
  end

  [1, 3].each do |number|
    context "with --processes #{number}" do
      define_method(:start) { |*arguments, **options| start_fleet("-p", number, *arguments, **options) }

      it "says where an application raises that is loaded" do
        process = start(code: 'raise ArgumentError, "no such card"')
        expect_failure(process,
                       /\Astepwell work: .*app.rb cannot be loaded: .*app.rb:\d+:in .*: no such card \(ArgumentError\)/)
      end

      it "says where it is no Ruby" do
        expect_failure(start(code: "def ("), /\Astepwell work: .*app.rb cannot be loaded: .*app.rb:\d+: syntax error/)
      end

      it "says that there is no database" do
        expect_failure(start(env: {}), /\Astepwell work: .*ConfigurationError: no database: set DATABASE_URL[^\n]*\n\z/)
      end

      it "says why the database refuses" do
        url = database_url.sub("//stepwell@", "//stranger:secret@")
        process = start(env: { "DATABASE_URL" => url })
        expect_failure(process, /\Astepwell work: .*DatabaseError: .*role "stranger" does not exist[^\n]*\n\z/)
        expect(process.errors).not_to include("secret")
      end

      it "says that nothing is there to be executed" do
        expect_failure(start(definitions: nothing),
                       /\Astepwell work: the application defines no workflow, so there are/)
      end

      it "says which namespaces there are" do
        message = "stepwell work: the application defines no workflow in oder, orders; it has spec\n"
        expect_failure(start("-n", "oder,spec", "-n", "orders"), /\A#{message}\z/)
      end

      it "names a setting that is wrong" do
        process = start(env: { "DATABASE_URL" => database_url, "STEPWELL__WORKER__LEASE" => "60" })
        expect_failure(process, /\Astepwell work: .*ConfigurationError: .*needs a unit/)
      end
    end
  end

  { "before" => /\[1 of 2\] a process could not be forked: RuntimeError: not today at .*app.rb:\d+/,
    "after" => /\[1 of 2\] process \d+ ended with status 1 after [\d.]+ s: RuntimeError: not today at .*app.rb:\d+/ }
    .each do |time, message|
      it "because the hook #{time} the fork raises ends with its message" do
        start_orchestrator
        process = start_fleet("-p", 2, code: "Stepwell.#{time}_fork { raise 'not today' }")
        expect_failure(process, /\Astepwell work: no process could be made to work: #{message}/)
      end
    end

  it "because its processes die at their start ends after some" do
    start_orchestrator
    process = start_fleet("-p", 4, code: "Stepwell.after_fork { |n| $stdout.write(\"\#{n}\n\"); exit!(3) }")
    expect_failure(process, /no process could be made to work: \[1 of 4\] process \d+ ended with status 3/)
    expect(Array.new(4) { process.gets }).to eq(["1", "1", "1", nil])
  end

  it "because its first process hangs at each start names its pid and ends after some" do
    start_orchestrator
    process = start_fleet("-p", 2, "--start-timeout", "0.3", code: <<~'RUBY')
      Stepwell.after_fork { |_| $stdout.write("#{Process.pid}\n"); sleep }
    RUBY
    expect_failure(process, /no process could be made to work: \[1 of 2\] process \d+ did not start and was killed/)
    pids = Array.new(3) { process.gets }
    pids.each do |pid|
      expect(process.errors).to include("[1 of 2] process #{pid} has not started within 0.3 s (--start-timeout) and is")
    end
  end

  it "goes on with the others when a process hangs while it starts, and replaces it" do
    start_orchestrator
    hung = File.join(folder, "hung")
    process = start_fleet("-p", 2, "-c", 1, "--start-timeout", "2", code: <<~RUBY)
      Stepwell.after_fork do |number|
        sleep if number == 2 && !File.exist?(#{hung.inspect}).tap { File.write(#{hung.inspect}, Process.pid.to_s) }
      end
    RUBY
    eventually { process.errors.include?("did not start and was killed") }
    eventual_workers(process, 2)
    expect(process.errors).to match(/\[2 of 2\] process \d+ has not started within 2.0 s/)
    expect_end(process, "TERM")
  end

  it "because the application starts a worker or an orchestrator before the fork says where that belongs" do
    process = start_fleet("-p", 2, code: "Stepwell::Orchestrator.embedded")
    expect_failure(process, /\Astepwell work: the application starts #<Stepwell::Orch.* running> while it is loaded/)
  end

  it "goes on with the others when one process does not start, and tries it again" do
    start_orchestrator
    process = start_fleet("-p", 2, "-n", "spec", code: <<~RUBY)
      Stepwell.after_fork { |number| raise "busy" if number == 2 && !File.exist?("#{folder}/free") }
    RUBY
    eventual_workers(process, 1)
    eventually { process.errors.match?(/\[2 of 2\] process \d+ ended with status 1 after .*: RuntimeError: busy at /) }
    File.write(File.join(folder, "free"), "")

    eventual_workers(process, 2)
    expect_end(process, "TERM")
  end

  { %w[-c none] => /invalid argument: -c none: must be a number from 1 to 1000/,
    %w[-p 0] => /invalid argument: -p 0: must be a number from 1 to 1000/,
    %w[-m 512] => /invalid argument: -m 512: must be a size with its unit, as 512M or 1.5G/,
    %w[-t soon] => /invalid argument: -t soon: must be seconds, or a time with its unit, as 90s or 5m/,
    %w[-r /nowhere.rb] => %r{-r /nowhere.rb: there is no such file or folder},
    %w[--colour] => /invalid option: --colour; see stepwell work --help/,
    %w[orders] => /orders: not understood; see stepwell work --help/,
    %w[-n] => /missing argument: -n/,
    [] => %r{say with -r what to load: a Ruby file, or a folder \(there is no config/environment.rb here\)} }
    .each do |arguments, message|
      it "because it was called with #{arguments.empty? ? "nothing" : arguments.join(" ")} says so, and ends with 2" do
        expect { expect(Dir.chdir(folder) { Stepwell::Work.main(arguments) }).to eq(2) }
          .to output(/\Astepwell work: #{message}/).to_stderr
      end
    end

  it "tells with --help how it is called" do
    expect { expect(Stepwell::Work.main(["--help"])).to eq(0) }
      .to output(/\AUsage: stepwell work -r app.rb.*--processes N.*Exit status: 0 /m).to_stdout
  end
end
