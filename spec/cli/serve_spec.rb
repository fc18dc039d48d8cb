# frozen_string_literal: true

require_relative "support"

RSpec.describe "stepwell serve" do
  before do
    define_single { |step| step.context["n"] }
    Stepwell.connection(database_url).register(Stepwell.registry.definitions)
  end

  # A worker here, on the database that a process there serves.
  def work_on(url)
    Stepwell.configure { |c| c.database_url = url }
    start_worker(database_url: url)
  end

  it "is neither stopped nor ended by signals that mean nothing to it, and stops upon HUP" do
    process = start("serve")
    work_on(database_url)
    expect(Stepwell.submit("spec/single", { n: 1 }).wait(timeout: 30).result(:only)).to eq(1)
    %w[USR1 USR2 ALRM TSTP TTIN TTOU PIPE WINCH CONT].each { |name| process.signal(name) }
    expect(Stepwell.submit("spec/single", { n: 2 }).wait(timeout: 30).result(:only)).to eq(2)
    process.signal("HUP")

    expect(process.ended.exitstatus).to eq(0)
  end

  %w[TERM INT].each do |signal|
    it "orchestrates until SIG#{signal}, drains, and ends with 0" do
      process = start("serve", env: { "DATABASE_URL" => database_url, "STEPWELL__LOGGING__LEVEL" => "info" })
      work_on(database_url)
      tasks = Stepwell.submit_all(Array.new(50) { |n| { workflow: "spec/single", context: { n: n } } })
      Stepwell.wait_all(tasks, timeout: 30)
      process.signal(signal)

      expect(process.ended.exitstatus).to eq(0)
      lines = process.errors.lines.map { |line| line.split(" ", 2).last }
      finished, others = lines.partition { |line| line.start_with?("INFO TASK finished workflow=spec/single task=") }
      expect(others).to match(
        [/\AINFO ORCHESTRATOR orchestrator started database="?postgres:/, /\AINFO ORCHESTRATOR stopping/,
         /\AINFO ORCHESTRATOR orchestrator stopped tasks_started=50 tasks_finished=50/]
      )
      expect(finished.map { |line| line[/task=(\S+) state=complete ms=\d+$/, 1] }).to match_array(tasks.map(&:id))
      expect(tasks.map { |task| task.result(:only) }).to eq((0...50).to_a)
    end
  end

  it "starts a private PostgreSQL where no database is given; other commands of that folder find it" do
    env = { "DATABASE_URL" => nil }
    serve = start("serve", env: env, chdir: folder)
    listed = eventually { stepwell("task", "list", env: env, chdir: folder).then { |ran| ran if ran.code.zero? } }
    expect(listed.err).to eq("There are no such tasks.\n")
    url = stepwell("migrate", "--dry-run", "--json", env: env, chdir: folder).json["database"]
    work_on(url)
    ran = stepwell("task", "submit", "spec/single", "-c", '{"n": 7}', "--wait", "--json", env: env, chdir: folder)

    expect(ran.json).to include("state" => "complete", "results" => { "only" => 7 })
    clean_up
    serve.signal("TERM")
    expect(serve.ended.exitstatus).to eq(0)
    Stepwell.disconnect
    expect(stepwell("check", env: env, chdir: folder)).to have_attributes(code: 0, out: "Every invariant holds.\n")
    expect(server_pid).to be_nil
  end

  it "does not wait for its drain after a second signal" do
    process = start("serve", env: { "DATABASE_URL" => database_url, "STEPWELL__LOGGING__LEVEL" => "info" })
    holder = IO.popen(["psql", "-XAtq", database_url], "r+")
    holder.puts("begin; lock table stepwell.tasks in access exclusive mode; select 'held';")
    expect(holder.gets).to eq("held\n")
    stepwell("task", "submit", "spec/single")
    eventually { psql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") == "1" }
    process.signal("TERM")
    eventually { process.errors.include?("stopping") }
    process.signal("TERM")

    expect(process.ended(10).exitstatus).to eq(143)
  ensure
    holder.close # psql rolls back
  end
end
