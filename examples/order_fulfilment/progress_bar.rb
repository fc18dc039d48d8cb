# frozen_string_literal: true

require "io/console"

module OrderFulfilment
  # Shows how many of a known number are done: on a terminal one moving line, elsewhere (a log, a pipe) a plain line
  # each time another quarter is done.
  class ProgressBar
    PARTS = " ▏▎▍▌▋▊▉█".chars.freeze
    MONOTONIC = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }
    EVERY = 0.05 # seconds between two drawings

    # @param total [Integer]
    # @param out [IO]
    # @param clock [#call] seconds, as a Float
    # @param started [Float] when the work began, by the clock
    def initialize(total:, label:, out: $stdout, clock: MONOTONIC, started: clock.call)
      @total = total
      @label = label
      @out = out
      @clock = clock
      @started = started
      @drawn = -Float::INFINITY
      @quarter = 0
    end

    # @param done [Integer]
    def update(done)
      @out.tty? ? draw(done) : report(done)
    end

    # Leaves the last state standing.
    # @param done [Integer]
    def finish(done = @total)
      return report(done) unless @out.tty?

      draw(done, force: true)
      @out.puts
    end

    private

    def draw(done, force: false)
      now = @clock.call
      return if !force && now - @drawn < EVERY

      @drawn = now
      width = [columns - @label.length - 45, 10].max
      @out.print "\r#{@label} #{bar(done, width)} #{count(done)}  #{rate(done, now)}\e[K"
      @out.flush
    end

    def report(done)
      quarter = @total.zero? ? 4 : done * 4 / @total
      return unless quarter > @quarter

      @quarter = quarter
      @out.puts "#{@label} #{count(done)}  #{rate(done, @clock.call)}"
      @out.flush
    end

    # Whole and eighth blocks, so that it moves evenly.
    def bar(done, width)
      eighths = @total.zero? ? width * 8 : (done * width * 8 / @total).clamp(0, width * 8)
      full = PARTS.last * (eighths / 8)
      full += PARTS[eighths % 8] if full.length < width
      "▕#{full.ljust(width)}▏"
    end

    def count(done)
      percent = @total.zero? ? 100 : done * 100 / @total
      "#{done.to_s.rjust(@total.to_s.length)}/#{@total} #{percent.to_s.rjust(3)}%"
    end

    def rate(done, now)
      elapsed = now - @started
      return "" unless elapsed.positive? && done.positive?

      per_second = done / elapsed
      left = (@total - done) / per_second
      done < @total ? format("%.0f/s, %.0f s left", per_second, left) : format("%.0f/s in %.1f s", per_second, elapsed)
    end

    def columns
      _rows, columns = @out.winsize
      columns.positive? ? columns : 80
    rescue SystemCallError, NoMethodError
      80
    end
  end
end
