# frozen_string_literal: true

module Stepwell
  module Work
    # How long a place in a fleet stays empty when its process has ended. Processes that die one soon after the other
    # wait longer and longer; one that ran for a while starts that anew.
    # @api private
    class Backoff
      BASE = 0.5
      CAP = 30.0
      # A process that ran this long, in seconds, did not die of its start.
      STEADY = 60.0

      def initialize
        @short_lives = 0
      end

      # @param ran [Float] seconds that the process that has ended ran
      # @return [Float] seconds until the next one starts
      def after(ran)
        @short_lives = ran < STEADY ? @short_lives + 1 : 0
        return 0.0 if @short_lives.zero?

        [BASE * (2**[@short_lives - 1, 16].min), CAP].min * rand(0.5..1.0)
      end
    end
  end
end
