# frozen_string_literal: true

module Stepwell
  # Objects that say in one line what they are, without contexts, results, and secrets: these are there for who asks.
  # @api private
  module OneLine
    # Characters of a text that are worth showing.
    TEXT = 100
    private_constant :TEXT

    # @return [String]
    def inspect
      "#<#{self.class.name} #{summary.compact.join(" ")}>"
    end

    # @return [String]
    def to_s
      inspect
    end

    # @api private
    # For pp and irb, which would look into a Struct or Hash by themselves.
    def pretty_print(printer)
      printer.text(inspect)
    end

    private

    # @return [String, nil] first line of a text of somebody else's, masked, cut, in quotes
    def quoted(text)
      return if text.nil?

      line = Native.mask_text(Failure.text(text)).lines.first.to_s.chomp
      (line.size > TEXT ? "#{line[0, TEXT]}…" : line).inspect
    end

    # @return [String, nil]
    def took(from, to)
      "took #{(to - from).round(3)}s" if from && to
    end

    # @return [String, nil]
    def moment(time)
      time&.getutc&.iso8601
    end
  end
end
