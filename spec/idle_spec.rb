# frozen_string_literal: true

require "spec_helper"

# What it costs to have Stepwell in a process while there is nothing to do, with the settings of production.
RSpec.describe "an idle orchestrator and worker" do
  settings = { "STEPWELL_ENV" => "production", "STEPWELL__ORCHESTRATOR__POLLING_INTERVAL" => nil,
               "STEPWELL__ORCHESTRATOR__CYCLE" => nil, "STEPWELL__WORKER__POLLING_INTERVAL" => nil }

  # Measures itself while its main thread sleeps: the time that passes is what is measured.
  script = <<~RUBY
    code = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| 1 } }
    Stepwell.workflow("spec/one") { step :only, code }
    orchestrator = Stepwell::Orchestrator.embedded
    worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 10).start
    Stepwell.submit("spec/one").wait(timeout: 20)
    GC.start
    puts "idle"
    while (seconds = $stdin.gets)
      cpu = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
      sleep seconds.to_f
      puts Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) - cpu
    end
    worker.stop
    orchestrator.stop
  RUBY

  # @return [Float] seconds of CPU that the sessions of the database have used
  def sessions_cpu
    pids = psql("select pid from pg_stat_activity where application_name = 'stepwell' and datname = current_database()")
    pids.lines(chomp: true).sum do |pid|
      File.read("/proc/#{pid}/stat").rpartition(") ").last.split.values_at(11, 12).sum(&:to_i)
    end.fdiv(Etc.sysconf(Etc::SC_CLK_TCK))
  end

  # Everything a transaction can write, counted: rows by the tables' statistics, transactions by their number.
  def written
    psql(<<~SQL)
      select sum(n_tup_ins + n_tup_upd + n_tup_del), pg_snapshot_xmax(pg_current_snapshot())
        from pg_stat_user_tables where schemaname in ('stepwell', 'pgmq')
    SQL
  end

  it "use less than 2 % of a core, their sessions in PostgreSQL included, and write nothing" do
    process = run_ruby(script, env: { "DATABASE_URL" => database_url, **settings })
    expect(process.gets).to eq("idle")
    seconds = 4
    shares = []
    # PostgreSQL's own housekeeping writes now and then: a window without it is looked for.
    eventually(60, "a window in which nothing was written and little was done") do
      before = [written, sessions_cpu]
      process.puts(seconds)
      own = process.gets.to_f
      shares << ((own + sessions_cpu - before[1]) / seconds)
      written == before[0] && shares.last < 0.02
    end

    expect(shares.min).to be_between(0, 0.02).exclusive
    expect(process.wait).to be_success
  end
end
