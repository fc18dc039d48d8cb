# frozen_string_literal: true

module Specs
  module Faults
    # How the task of a number must end, computed here without the handlers' code.
    module Expected
      KIND = 1_000_000

      module_function

      # @return [Array<(String, Hash{String => Integer})>] state, and results of the steps that complete
      def outcome(number, width: 0)
        kind, place = number.divmod(KIND)
        return ["error", { "healthy" => number }] if kind == 3

        ["complete", case kind
                     when 0 then number % 5 == 4 ? fan(number) : chain(number)
                     when 1 then deploy(number, place.odd?)
                     when 2 then wide(width)
                     when 4 then { "asks" => number }
                     when 5 then { "hogs" => number }
                     end]
      end

      def chain(number)
        { "one" => 1 + (3 * number), "two" => 1 + number, "three" => 1 + (2 * number) + (number * number),
          "four" => 2 + (5 * number) + (number * number) }
      end

      def fan(number)
        { "start" => number, "left" => number + 1, "middle" => 2 * number, "right" => number - 3,
          "join" => (4 * number) - 2 }
      end

      def deploy(number, first_release)
        results = { "a" => number + 1, "b" => (2 * number) + 2 }
        first_release ? results : { **results, "c" => (3 * number) + 3 }
      end

      def wide(width)
        (0...width).to_h { |place| ["place#{place}", place] }.merge("join" => width * (width - 1) / 2)
      end
    end
  end
end
