# frozen_string_literal: true

require "io/console"
require "pty"
require "spec_helper"

module Specs
  # The gem's executable, as a process of its own.
  module CommandLine
    PROGRAM = [RbConfig.ruby, "-I", File.join(ROOT, "ruby/lib"), File.join(ROOT, "ruby/exe/stepwell")].freeze
    # No work of these specs is long.
    TIME_LIMIT = 60
    COLOUR = /\e\[[\d;]*m/

    # What a command printed, and how it ended.
    Ran = Struct.new(:out, :err, :code, keyword_init: true) do
      # @return what it printed as JSON
      def json
        JSON.parse(out)
      end

      # @return [Array<Array<String>>] cells of the table that it printed, without the headers
      def rows
        out.lines(chomp: true).drop(1).map { |line| line.split(/ {2,}/) }
      end
    end

    # Runs a command to its end.
    # @return [Ran]
    def stepwell(*arguments, input: "", env: { "DATABASE_URL" => database_url }, chdir: "/")
      out, err, status = Open3.capture3(env, "timeout", TIME_LIMIT.to_s, *PROGRAM, *arguments,
                                        stdin_data: input, chdir: chdir)
      Ran.new(out: out, err: err, code: status.exitstatus)
    end

    # Runs a command to its end in a terminal.
    # @return [Ran] with everything that the terminal got in out
    def in_terminal(*arguments, env: {}, columns: 120)
      PTY.open do |terminal, side|
        terminal.winsize = [40, columns]
        # Without CI: the logs of a CI show colours, whatever its terminal is called.
        known = { "DATABASE_URL" => database_url, "TERM" => "xterm-256color", "CI" => nil }
        pid = spawn({ **known, **env }, *PROGRAM, *arguments,
                    in: side, out: side, err: side, chdir: "/")
        side.close
        text = read_all(terminal)
        _, status = Process.wait2(pid)
        Ran.new(out: text.gsub("\r\n", "\n"), err: "", code: status.exitstatus)
      end
    end

    # Starts a command that an example talks to; it must have ended, in silence, when the example ends.
    # @return [RubyProcess]
    def start(*arguments, env: { "DATABASE_URL" => database_url }, chdir: "/")
      script = "ARGV.replace(#{arguments.inspect}); load #{PROGRAM.last.inspect}"
      run_ruby(script, env: env, chdir: chdir)
    end

    private

    def read_all(terminal)
      text = +""
      loop { text << terminal.readpartial(4096) }
    rescue EOFError, Errno::EIO # how Linux says that nobody has the other side any more
      text.force_encoding("UTF-8")
    end
  end
end

RSpec.configure { |config| config.include Specs::CommandLine, file_path: %r{spec/cli/} }
