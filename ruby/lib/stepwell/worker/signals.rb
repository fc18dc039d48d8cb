# frozen_string_literal: true

module Stepwell
  class Worker
    # The signals that a worker's process gets, one after the other. A trap may hardly do anything itself: it writes the
    # signal's name into a pipe.
    # @api private
    class Signals
      STOP = %w[TERM INT HUP PWR].freeze
      QUIET = %w[QUIT TSTP].freeze
      DUMP = "TTIN"
      # What would stop or end a process that did not expect it: what other servers take for a reload or a reopening of
      # their logs, and what a terminal does to a process in the background.
      IGNORED = %w[USR1 USR2 ALRM TTOU].freeze
      # Of these a trap of the application counts, and so does that whoever started the process ignores one (nohup).
      YIELDING = ["HUP", "PWR", DUMP, *IGNORED].freeze

      # Catches the signals while the block runs; afterwards they do what they did before.
      # @yieldparam signals [Signals]
      # @return what the block returns
      def self.trap
        signals = new
        before = {}
        names.each { |name| before[name] = signals.catch(name) }
        yield signals
      ensure
        before&.each { |name, handler| Signal.trap(name, handler || "DEFAULT") }
        signals&.close
      end

      # @return [Array<String>] those that this system has
      def self.names
        (STOP + QUIET + [DUMP] + IGNORED) & Signal.list.keys
      end

      # Ignores what would stop or end a process that has nothing to say to it.
      def self.ignore(names = [*QUIET, DUMP, *IGNORED])
        (names - ["QUIT"]).each { |name| Signal.trap(name) { nil } }
      end

      def initialize
        @reader, @writer = IO.pipe
        @pid = Process.pid
      end

      # @param name [String]
      # @return [String, Proc, nil] what the signal did before
      def catch(name)
        before = Signal.trap(name) { push(name) unless IGNORED.include?(name) }
        return before unless YIELDING.include?(name) && !["DEFAULT", "SYSTEM_DEFAULT", nil].include?(before)

        Signal.trap(name, before)
        before
      end

      # In a forked child, whose traps are still its parent's, nothing: the pipe is the parent's too.
      def push(name)
        @writer.write_nonblock("#{name}\n", exception: false) if Process.pid == @pid
      end

      # @return [IO] to wait for
      def to_io
        @reader
      end

      # @param timeout [Numeric] seconds
      # @return [String, nil] the next one; nil when none came in time
      def next(timeout)
        @reader.gets.chomp if @reader.wait_readable(timeout)
      end

      def close
        [@reader, @writer].each(&:close)
      end
    end
  end
end
