# frozen_string_literal: true

module Stepwell
  class Worker
    # The signals that a worker's process gets, one after the other. A trap may hardly do anything itself: it writes the
    # signal's name into a pipe.
    # @api private
    class Signals
      NAMES = %w[TERM INT QUIT TSTP].freeze

      # Catches the signals while the block runs; afterwards they do what they did before.
      # @yieldparam signals [Signals]
      # @return what the block returns
      def self.trap
        signals = new
        before = NAMES.to_h { |name| [name, Signal.trap(name) { signals.push(name) }] }
        yield signals
      ensure
        before&.each { |name, handler| Signal.trap(name, handler || "DEFAULT") }
        signals&.close
      end

      def initialize
        @reader, @writer = IO.pipe
        @pid = Process.pid
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
