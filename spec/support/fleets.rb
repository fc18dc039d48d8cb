# frozen_string_literal: true

module Specs
  # Processes of `stepwell work`, and what is seen of them from outside.
  module Fleets
    # An application whose steps say who executes them, and wait for their line of input ("done"), or do not
    # wait.
    APPLICATION = <<~RUBY
      require "stepwell"
      quick = Class.new(Stepwell::StepHandler) { define_method(:call) { |_| Process.pid } }
      held = Class.new(Stepwell::StepHandler) do
        def call(_step)
          $stdout.write("\#{Process.pid} runs\\n")
          $stdin.sysread(5).chomp # not more: its brothers read there too
        end
      end
      Stepwell.workflow("spec/quick") { step :only, quick, max_attempts: 1 }
      Stepwell.workflow("spec/held") { step :only, held, max_attempts: 1 }
    RUBY

    # The same workflows in the process of the specs, which submits their tasks.
    def define_fleet_workflows
      %w[spec/quick spec/held].each do |name|
        define_single(name.delete_prefix("spec/"), max_attempts: 1) { raise "the specs execute nothing of #{name}" }
      end
    end

    # @param code [String] of the application
    # @return [String] its file
    def application(code)
      File.join(folder, "app.rb").tap { |path| File.write(path, code) }
    end

    # @param arguments [Array<String>] behind `stepwell work -r FILE`
    # @param code [String] what the application has besides
    # @param definitions [String] what it has
    # @return [RubyProcess]
    def start_fleet(*arguments, code: "", definitions: APPLICATION, **options)
      arguments = ["-r", application("#{definitions}\n#{code}"), *arguments].map(&:to_s)
      run_ruby("require 'stepwell/work'; exit Stepwell::Work.main(#{arguments.inspect})", **options)
    end

    # @return [Array<Integer>] living children of a process
    def children_of(pid)
      File.read("/proc/#{pid}/task/#{pid}/children").split.map(&:to_i).select { |child| alive?(child) }
    rescue Errno::ENOENT, Errno::ESRCH
      []
    end

    # @return [Array<Integer>] once there are as many
    def eventual_children(process, number)
      eventually(20, "#{number} children") { (pids = children_of(process.pid)).size == number && pids }
    end

    # @return [Array<Integer>] once their workers run
    def eventual_workers(process, number)
      eventually(20, "#{number} workers") { (pids = working_children(process)).size == number && pids }
    end

    # @return [Array<Integer>] living children whose workers run
    def working_children(process)
      children_of(process.pid).select { |pid| title_of(pid).match?(/: \d+ busy\z/) }
    end

    # @return [String] what ps shows; empty when the process is gone
    def title_of(pid)
      File.read("/proc/#{pid}/cmdline").delete("\0").strip
    rescue Errno::ENOENT, Errno::ESRCH
      ""
    end

    def alive?(pid)
      Process.kill(0, pid) && !File.read("/proc/#{pid}/stat").match?(/\) Z /)
    rescue Errno::ESRCH, Errno::ENOENT
      false
    end

    # @return [Array<Integer>] processes that executed the only steps of these tasks
    def executed_by(tasks)
      Stepwell.wait_all(tasks, timeout: 60).map { |task| task.result(:only) }
    end

    # Lets as many held steps go on.
    def release(process, number)
      number.times { process.puts("done") }
    end

    # Sends the signal, and expects that the process ends like this.
    def expect_end(process, signal, status: 0, within: 30)
      process.signal(signal)
      expect(process.ended(within).exitstatus).to eq(status)
    end
  end
end
