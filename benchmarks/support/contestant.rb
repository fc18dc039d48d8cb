# frozen_string_literal: true

require "json"
require "open3"

module Bench
  # A process of a measurement. One that measures says "ready", starts when it is told to, says what it has measured,
  # and ends with its standard input.
  class Contestant
    TIME_LIMIT = 900

    attr_reader :role, :pid

    # @param role [Symbol] :ruby, :rust, :orchestrator …: whose CPU it uses
    # @param log [String] path of its standard error
    def initialize(role, command, env: {}, log: File::NULL)
      @role = role
      @command = command
      @log = log
      @input, @output, @thread = Open3.popen2(env, *command, err: [log, "a"], pgroup: true)
      @pid = @thread.pid
    end

    # Waits until it is ready to measure.
    def ready
      line = read
      line = read until line.start_with?("ready")
      self
    end

    # Lets it measure.
    # @return [Hash{String => Object}] what it has measured
    def measure
      tell
      answer
    end

    # Tells it to start something, or to end what it has started.
    def tell
      @input.puts("go")
    end

    # @return [Hash{String => Object}] what it has measured
    def answer
      JSON.parse(read)
    end

    # @return [Float] CPU seconds so far, with those of its children that have ended
    def cpu_seconds
      File.read("/proc/#{@pid}/stat")[/.*\) (.*)/m, 1].split[11..14].sum(&:to_i) / Float(Etc.sysconf(Etc::SC_CLK_TCK))
    end

    # @return [Float] resident megabytes
    def memory
      File.read("/proc/#{@pid}/status")[/VmRSS:\s+(\d+)/, 1].to_i / 1024.0
    end

    def stop
      @input.close unless @input.closed?
      Process.kill("TERM", @pid) if @role == :orchestrator && @thread.alive?
      Process.kill("KILL", @pid) unless @thread.join(30)
      @output.close
    rescue Errno::ESRCH
      nil
    end

    private

    def read
      raise failed("said nothing for #{TIME_LIMIT} s") unless @output.wait_readable(TIME_LIMIT)

      @output.gets or raise failed("ended")
    end

    def failed(what)
      tail = File.file?(@log) ? File.read(@log)[-3000..] || File.read(@log) : ""
      "#{@command.join(" ")[0, 300]} #{what}\n#{tail}"
    end
  end
end
