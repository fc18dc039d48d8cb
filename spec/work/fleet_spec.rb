# frozen_string_literal: true

require "spec_helper"

RSpec.describe "stepwell work" do
  before do
    define_fleet_workflows
    start_orchestrator
  end

  def submit(number, workflow = "spec/quick")
    Stepwell.submit_all([{ workflow: workflow }] * number)
  end

  def open_sockets(pid)
    Dir["/proc/#{pid}/fd/*"].map { |path| File.readlink(path) }.grep(/socket:/)
  end

  it "with --processes 4 executes the tasks in four processes, forked from one that opens no database and no threads" do
    process = start_fleet("-n", "spec", "-c", 2, "--processes", 4)
    workers = eventual_workers(process, 4)
    tasks = submit(400)

    expect(executed_by(tasks).uniq).to match_array(workers)
    names = Dir["/proc/#{process.pid}/task/*/comm"].map { |path| File.read(path).chomp }
    expect(names.grep(/stepwell|tokio|sqlx/)).to be_empty
    expect(open_sockets(process.pid)).to be_empty
    expect_end(process, "TERM")
    expect(workers.select { |pid| alive?(pid) }).to be_empty
  end

  it "shows in the titles of the processes what each does" do
    process = start_fleet("-n", "spec", "-c", 2, "--processes", 2)
    first, second = eventual_workers(process, 2)
    tasks = submit(3, "spec/held")
    busy = Array.new(3) { process.gets.to_i }.tally

    [first, second].each_with_index do |pid, index|
      eventually { title_of(pid) == "stepwell work spec [#{index + 1} of 2]: #{busy[pid] || 0} busy" }
    end
    expect(title_of(process.pid)).to eq("stepwell work spec [supervisor of 2]")
    release(process, 3)
    Stepwell.wait_all(tasks, timeout: 30)
    eventually { [first, second].all? { |pid| title_of(pid).end_with?(": 0 busy") } }
    expect_end(process, "TERM")
  end

  it "runs the hooks in their order: the one before the fork in the supervisor, the one after it in the child" do
    process = start_fleet("--processes", 2, code: <<~RUBY)
      tell = ->(what, number) { $stdout.write("\#{what} \#{number} \#{Process.pid}\\n") }
      Stepwell.before_fork { |number| tell.call("before, first", number) }
      Stepwell.before_fork { |number| tell.call("before, second", number) }
      Stepwell.after_fork { |number| tell.call("after, first", number) }
      Stepwell.after_fork { |number| tell.call("after, second", number) }
    RUBY
    told = Array.new(8) { process.gets }
    workers = eventual_workers(process, 2)

    expect(told.grep(/before/).map(&:split).map(&:last).uniq).to eq([process.pid.to_s])
    [1, 2].each do |number|
      ours = told.grep(/ #{number} \d+\z/).map { |line| line.split(/ (?=\d+\z)/) }
      expect(ours.map(&:first)).to eq(["before, first", "before, second", "after, first", "after, second"]
                                        .map { |what| "#{what} #{number}" })
      expect(ours.last(2).map(&:last).uniq).to eq([workers[number - 1].to_s])
    end
    expect_end(process, "TERM")
  end

  it "lets go, before the fork, of the databases that the application used while it was loaded" do
    other = new_database
    process = start_fleet("-p", 2, code: <<~RUBY)
      Stepwell.configure { |c| c.database_url = "#{other}" }
      Stepwell.submit("spec/quick")
      Stepwell.configure { |c| c.database_url = nil }
    RUBY
    eventual_workers(process, 2)

    expect(psql("select count(*) from pgmq.q_task_requests", url: other)).to eq("1")
    expect(psql("select count(*) from pg_stat_activity where application_name = 'stepwell' and datname = " \
                "current_database()", url: other)).to eq("0")
    executed_by(submit(10))
    expect_end(process, "TERM")
  end

  it "may have an orchestrator in each of its processes" do
    clean_up # no other one
    process = start_fleet("-p", 2, code: "Stepwell.after_fork { Stepwell::Orchestrator.embedded }")
    workers = eventual_workers(process, 2)
    Stepwell.configure { |c| c.database_url = database_url }
    expect(executed_by(submit(50))).to include(*workers)
    Process.kill("KILL", workers.first)
    eventually { process.errors.match?(/was killed by SIGKILL after .*; the next one in/) }
    executed_by(submit(10))

    expect_end(process, "TERM")
  end

  it "loads the application once, and shares it" do
    process = start_fleet("--processes", 3, code: "$stdout.write(\"loaded by \#{Process.pid}\\n\")")
    expect(process.gets).to eq("loaded by #{process.pid}")
    eventual_workers(process, 3)
    expect_end(process, "TERM")
    expect(process.gets).to be_nil
  end

  it "with one process forks nothing, and runs no hooks" do
    process = start_fleet("-c", 2, code: 'Stepwell.after_fork { $stdout.write("forked\n") }')
    tasks = submit(20)

    expect(executed_by(tasks).uniq).to eq([process.pid])
    eventually { title_of(process.pid) == "stepwell work spec: 0 busy" }
    expect(children_of(process.pid)).to be_empty
    expect_end(process, "TERM")
    expect(process.gets).to be_nil
  end

  it "works for every namespace of the application unless told for which" do
    code = 'Stepwell.workflow("other/quick") { step :only, quick, max_attempts: 1 }'
    Stepwell.workflow("other/quick") { step :only, Class.new(Stepwell::StepHandler), max_attempts: 1 }
    all = start_fleet("-p", 2, code: code)
    executed_by(submit(10) + submit(10, "other/quick"))
    expect_end(all, "TERM")
    one = start_fleet("-p", 2, "-n", "other", code: code)
    executed_by(submit(10, "other/quick"))
    left = submit(1).first

    expect { left.wait(timeout: 0.5) }.to raise_error(Stepwell::WaitTimeout)
    expect_end(one, "TERM")
  end

  it "writes a pid file, and refuses a second fleet with the same one" do
    path = File.join(folder, "work.pid")
    File.write(path, "1\n") # of one that crashed
    process = start_fleet("-p", 2, "-c", 1, "--pidfile", path)
    workers = eventual_workers(process, 2)
    expect(File.read(path)).to eq("#{process.pid}\n")
    second = start_fleet("-p", 2, "--pidfile", path)
    expect(second.ended.exitstatus).to eq(1)
    expect(second.errors).to eq("stepwell work: #{path} belongs to process #{process.pid}, which works already\n")

    tasks = submit(2, "spec/held").each { process.gets }
    process.signal("KILL")
    process.ended
    third = start_fleet("-p", 2, "--pidfile", path) # children that still stop do not hold the file
    eventual_workers(third, 2)
    release(process, 2)
    Stepwell.wait_all(tasks, timeout: 20)
    expect_end(third, "TERM")
    expect(File).not_to exist(path)
    eventually { workers.none? { |pid| alive?(pid) } }
    expect(process.errors.lines.size).to eq(2)
  end

  it "takes the environment from -e" do
    process = start_fleet("-e", "production", code: '$stdout.write(ENV.values_at("RAILS_ENV", "STEPWELL_ENV").inspect)')
    eventually { title_of(process.pid).end_with?("0 busy") }
    expect_end(process, "INT")
    expect(process.gets).to eq('["production", "production"]')
  end
end
