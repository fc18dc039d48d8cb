# frozen_string_literal: true

require "io/wait"

module Specs
  module Faults
    # One of the processes that are broken: an orchestrator, a worker, a client. Its log goes to a file of its own.
    class Program < RubyProcess
      FOLDER = File.join(__dir__, "programs")

      attr_reader :role

      # @param role [Symbol] name of a file in programs/
      # @param options [Hash] those of {RubyProcess}
      def initialize(role, **options)
        @role = role
        super("load #{File.join(FOLDER, "#{role}.rb").dump}", **options)
      end

      # @return [String] what it said when it was ready, after the word "started"
      def ready
        @ready ||= gets.to_s[/\Astarted ?(.*)/, 1] or raise "#{describe} did not start: #{log}"
      end

      # kill -9, and gone when this returns.
      def kill
        signal("KILL")
        raise "#{describe} had ended before it was killed: #{log}" unless ended.termsig == 9
      end

      # @return [Boolean] whether it has printed a line that nobody has read; waits a moment for that
      def said?
        !@output.wait_readable(0.01).nil?
      end

      # @return [Boolean] whether it has ended, by whatever
      def died?
        @status ||= Process.wait2(pid, Process::WNOHANG)&.last
        over?
      end

      # @return [String] what it has logged so far; reading it does not say that it was expected
      def log
        File.read(@errors.path)
      end

      # @return [Integer] threads of the process, Ruby's and others
      def threads
        File.read("/proc/#{pid}/status")[/^Threads:\s+(\d+)/, 1].to_i
      end

      # Ends it, whatever it is doing: the example has been given up.
      def abandon
        return if died?

        signal("KILL")
        ended
      end

      # @return [Boolean]
      def over?
        !@status.nil?
      end

      def describe
        "#{role} #{pid}"
      end
    end
  end
end
