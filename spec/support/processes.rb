# frozen_string_literal: true

require "tempfile"
require "timeout"

module Specs
  # For scripts: one call into C that keeps Ruby's lock, as a long sort or a slow extension does.
  HOLD_THE_LOCK = <<~RUBY
    require "fiddle"
    USLEEP = Fiddle::Function.new(Fiddle.dlopen(nil)["usleep"], [Fiddle::TYPE_INT], Fiddle::TYPE_INT, need_gvl: true)
    def hold_the_lock(seconds) = USLEEP.call((seconds * 1_000_000).to_i)
  RUBY

  # A Ruby process of its own, with the library loaded, that an example talks to through pipes.
  class RubyProcess
    PRELUDE = <<~RUBY
      $stdout.sync = true
      require "stepwell"
    RUBY

    attr_reader :pid

    # @param script [String] Ruby code
    # @param env [Hash{String => String, nil}]
    # @param chdir [String]
    # @param through [Array<String>] a command that executes what follows it
    def initialize(script, env: {}, chdir: "/", through: [])
      @errors = Tempfile.new("stderr")
      input, @input = IO.pipe
      @output, output = IO.pipe
      command = [*through, RbConfig.ruby, "-I", File.join(ROOT, "ruby/lib"), "-e", PRELUDE + script]
      @pid = Process.spawn(env, *command, in: input, out: output, err: @errors.path, chdir: chdir)
      [input, output].each(&:close)
    end

    # @return [String, nil] the next line it prints; nil at its end
    def gets(timeout = 30)
      Timeout.timeout(timeout) { @output.gets&.chomp }
    rescue Timeout::Error
      raise "process #{@pid} said nothing for #{timeout} s; standard error: #{File.read(@errors.path)}"
    end

    def puts(line)
      @input.puts(line)
    end

    def signal(name)
      Process.kill(name, @pid)
    end

    # Lets it read the end of its standard input, where scripts go on to their end.
    def close
      @input.close unless @input.closed?
    end

    # @return [Process::Status] once it has read the end of its standard input and ended
    def wait(timeout = 30)
      close
      ended(timeout)
    end

    # @return [Process::Status] once it has ended by itself, or by a signal
    def ended(timeout = 30)
      return @status if @status

      _, @status = Patience.eventually(timeout, "the end of process #{@pid}") { Process.wait2(@pid, Process::WNOHANG) }
      @status
    end

    # @return [String] what it wrote to standard error; reading it says that it was expected
    def errors
      @read = true
      File.read(@errors.path)
    end

    # @return [Array<String>] what is wrong with how it ended
    def finish
      left = @status ? [] : ["process #{@pid} was not waited for"]
      unless @status
        signal("KILL")
        wait
      end
      unexpected = @read ? "" : File.read(@errors.path)
      left << "process #{@pid} wrote to standard error: #{unexpected}" unless unexpected.empty?
      [@input, @output].each { |io| io.close unless io.closed? }
      @errors.close!
      left
    end
  end

  module Processes
    # @return [RubyProcess] must have ended, in silence, when the example ends
    def run_ruby(script, env: { "DATABASE_URL" => database_url }, **options)
      RubyProcess.new(script, env: env, **options).tap { |process| (@processes ||= []) << process }
    end

    # @api private
    def process_leaks
      (@processes || []).flat_map(&:finish)
    end
  end
end
