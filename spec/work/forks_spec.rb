# frozen_string_literal: true

require "spec_helper"

# What Spring and its like do: a process that has loaded the application, and used it, forks one command after
# another.
RSpec.describe "a process that uses Stepwell and forks" do
  before do
    define_single { |step| step.context["n"] }
    start_stepwell
  end

  preloader = <<~RUBY
    Stepwell.workflow("spec/single") { step :only, Class.new(Stepwell::StepHandler) }
    def order(number) = Stepwell.submit("spec/single", { n: number }).wait(timeout: 20).result(:only) == number
    abort "the preloader" unless order(0)
    at_exit { puts "exit of \#{Process.pid == PRELOADER ? "the preloader" : "a command"}" }
    PRELOADER = Process.pid
  RUBY

  it "gets commands that use it anew, and fork in their turn" do
    process = run_ruby(<<~RUBY)
      #{preloader}
      while (number = $stdin.gets&.to_i)
        Process.wait(fork do
          puts order(number)
          Process.wait(fork { puts order(number + 1) })
          puts order(number + 2)
        end)
        puts order(number + 3)
      end
    RUBY
    3.times do |round|
      process.puts(10 * round)
      expect(Array.new(6) { process.gets })
        .to eq(["true", "true", "exit of a command", "true", "exit of a command", "true"])
    end

    expect(process.wait).to be_success
    expect(process.gets).to eq("exit of the preloader")
  end

  it "can do so in the middle of its own calls" do
    process = run_ruby(<<~RUBY, env: { "DATABASE_URL" => database_url, "STEPWELL__LOGGING__LEVEL" => "error" })
      #{preloader}
      busy = Array.new(4) do |thread|
        Thread.new do
          done = 0
          done += 1 while !$enough && order(thread)
          done
        end
      end
      Thread.new do
        loop { Stepwell::Native::Database.connect(ENV.fetch("DATABASE_URL"), Stepwell.configuration.load).close }
      end
      children = Array.new(40) { |n| fork { exit!(order(n) ? 0 : 1) } }
      puts children.map { |child| Process.wait2(child).last.exitstatus }.tally
      $enough = true
      puts busy.sum(&:value).positive?
    RUBY

    expect(process.gets(60)).to eq({ 0 => 40 }.to_s)
    expect(process.gets).to eq("true")
    expect(process.wait).to be_success
    expect(process.gets).to eq("exit of the preloader")
  end

  it "can do so while one of its threads, outside Ruby, is in the middle of a log line" do
    process = run_ruby(<<~RUBY, env: { "DATABASE_URL" => database_url, "STEPWELL__LOGGING__LEVEL" => "info" })
      require "io/nonblock"
      def log = Stepwell::Worker.new(namespaces: "other", concurrency: 1).start.stop
      before = $stderr.dup
      nobody_reads, full = IO.pipe
      nil until full.write_nonblock("x" * 4096, exception: false) == :wait_writable
      full.nonblock = false
      $stderr.reopen(full)
      Thread.new { log }
      Thread.pass until Dir["/proc/self/task/*/wchan"].any? { |path| File.read(path).include?("pipe_write") }
      child = fork do
        $stderr.reopen(before)
        exit!(log ? 0 : 1)
      end
      puts Process.wait2(child).last.exitstatus
      exit!
    RUBY

    expect(process.gets).to eq("0")
    process.ended
    expect(process.errors).to match(/INFO WORKER worker started .*other/)
  end
end
