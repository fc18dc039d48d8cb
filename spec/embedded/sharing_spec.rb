# frozen_string_literal: true

require "spec_helper"

# Processes of one working directory, without a DATABASE_URL.
RSpec.describe "the embedded PostgreSQL" do
  # Prints its server's process, does what it is told line by line, and leaves in order at the end of its input.
  user = <<~RUBY
    code = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| step.context["n"] * 2 } }
    Stepwell.workflow("spec/double") { step :only, code }
    orchestrator = Stepwell::Orchestrator.embedded
    worker = Stepwell::Worker.new(namespaces: "spec", concurrency: 2).start
    puts "started"
    while (line = $stdin.gets)
      puts Stepwell.submit("spec/double", { n: line.to_i }).wait(timeout: 30).result(:only)
    end
    worker.stop
    orchestrator.stop
  RUBY

  def start_user(script)
    run_ruby(script, env: {}, chdir: folder).tap { |process| expect(process.gets).to eq("started") }
  end

  def double(process, number)
    process.puts(number)
    expect(process.gets).to eq((number * 2).to_s)
  end

  def leave(process)
    expect(process.wait).to be_success
  end

  it "is shared by two processes, and the last one out stops it" do
    first = start_user(user)
    server = server_pid
    second = start_user(user)
    expect(server_pid).to eq(server)
    [first, second].each { |process| double(process, 21) }
    leave(first)
    expect(server_pid).to eq(server)
    double(second, 4)
    leave(second)

    expect(server_pid).to be_nil
  end

  it "is found by a worker and by submits of other processes, which keep it running" do
    orchestrator = run_ruby("Stepwell::Orchestrator.embedded { puts 'started'; $stdin.read }", env: {}, chdir: folder)
    expect(orchestrator.gets).to eq("started")
    server = server_pid
    worker = run_ruby(<<~RUBY, env: {}, chdir: folder)
      code = Class.new(Stepwell::StepHandler) { define_method(:call) { |step| step.context["n"] * 2 } }
      Stepwell.workflow("spec/double") { step :only, code }
      worker = Stepwell::Worker.new(namespaces: "spec").start
      puts "started"
      $stdin.read
      worker.stop
    RUBY
    expect(worker.gets).to eq("started")
    client = run_ruby(<<~RUBY, env: {}, chdir: folder)
      puts Stepwell.submit("spec/double", { n: 21 }).wait(timeout: 30).result(:only)
      $stdin.read
    RUBY
    expect(client.gets).to eq("42")
    leave(client)
    leave(orchestrator)
    expect(server_pid).to eq(server)
    leave(worker)

    expect(server_pid).to be_nil
  end

  it "keeps its data from one start to the next" do
    leave(start_user(user).tap { |process| double(process, 1) })
    expect(server_pid).to be_nil
    script = "Stepwell::Orchestrator.embedded { |it| puts it.database_url; $stdin.read }"
    process = run_ruby(script, env: {}, chdir: folder)

    expect(psql("select count(*), min(result::text) from stepwell.steps", url: process.gets)).to eq("1|2")
    leave(process)
  end

  it "is started once when processes start at the same time" do
    processes = Array.new(3) { run_ruby(user, env: {}, chdir: folder) }
    expect(processes.map(&:gets)).to eq(["started"] * 3)
    processes.each { |process| double(process, 5) }
    processes.each { |process| leave(process) }

    expect(server_pid).to be_nil
  end

  [0, 1].each do |killed|
    it "goes on for the other when process #{killed + 1} of two is killed, and the last one out stops it" do
      processes = Array.new(2) { start_user(user) }
      server = server_pid
      processes[killed].signal("KILL")
      expect(processes[killed].ended.termsig).to eq(9)
      double(processes[1 - killed], 8)
      expect(server_pid).to eq(server)
      leave(processes[1 - killed])

      expect(server_pid).to be_nil
    end
  end

  it "is adopted by the next start when everybody was killed, and nothing is lost" do
    process = start_user(user)
    double(process, 1)
    server = server_pid
    process.signal("KILL")
    expect(process.ended.termsig).to eq(9)
    expect(server_pid).to eq(server)

    heir = start_user(user)
    expect(server_pid).to eq(server)
    double(heir, 3)
    leave(heir)
    expect(server_pid).to be_nil
  end

  it "is started anew when the server itself was killed with everybody" do
    process = start_user(user)
    double(process, 1)
    server = server_pid
    [server, process.pid].each { |pid| Process.kill("KILL", pid) }
    process.ended
    heir = start_user(user)

    expect(server_pid).not_to eq(server)
    double(heir, 2)
    leave(heir)
  end

  it "lives in the folder that was configured, with a URL for psql" do
    process = run_ruby(<<~RUBY, env: {})
      Stepwell.configure { |c| c.embedded_directory = "#{folder}/.stepwell" }
      Stepwell::Orchestrator.embedded { |it| puts it.database_url, it.status[:database]; $stdin.read }
    RUBY
    url = process.gets
    shown = process.gets

    expect(url).to match(%r{\Apostgres://stepwell@%2F[^/]+:5432/stepwell\?sslmode=disable\z})
    expect(shown).to eq(url) # it has no password
    expect(psql("show data_directory", url: url)).to eq(File.realpath(File.join(folder, ".stepwell/data")))
    expect(psql("show listen_addresses", url: url)).to eq("")
    leave(process)
  end
end
