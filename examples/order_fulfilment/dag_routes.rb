# frozen_string_literal: true

module OrderFulfilment
  # The lines between two neighbouring layers of a DagLayout. Every parent has one column that leaves it and, unless all
  # goes straight down, one row of its own in which its line runs sideways; every edge has a column of its own where it
  # enters the child. So two lines cross, but do not run into each other
  # (two that each leave where the other one enters still would; it takes a tangled DAG of ten steps to get there).
  class DagRoutes
    # from: the column below the parent; to: the columns above its children; row: nil when the line goes straight down.
    Line = Struct.new(:from, :to, :row) do
      # @return [Range<Integer>] the columns it runs over
      def span
        Range.new(*[from, *to].minmax)
      end

      def meets?(other)
        span.begin <= other.span.end + 1 && other.span.begin <= span.end + 1
      end
    end

    # @return [Array<Line>]
    attr_reader :lines

    # @param parents [Array<DagLayout::Node>] the layer above
    # @param children [Array<DagLayout::Node>] the layer below
    def initialize(parents, children)
      @leaving = parents.reject { |parent| parent.children.empty? }.to_h { |parent| [parent, parent.center] }
      targets = @leaving.keys.to_h { |parent| [parent, []] }
      children.each { |child| entries(child).each { |parent, column| targets[parent] << column } }
      @lines = @leaving.map { |parent, column| Line.new(column, targets[parent].sort, nil) }
      number_rows
    end

    private

    # Straight down where the child's box is wide enough, otherwise at its nearest edge.
    def entries(child)
      parents = child.parents.sort_by { |parent| @leaving.fetch(parent) }
      return parents.map { |parent| [parent, child.center] } unless child.step?

      taken = []
      parents.map { |parent| [parent, free_column(child, parent, taken).tap { |column| taken << column }] }
    end

    def free_column(child, parent, taken)
      range = (child.left + 2..child.left + child.width - 3).to_a
      foreign = @leaving.reject { |other, _| other == parent }.values
      wish = @leaving.fetch(parent)
      free = range.reject { |column| foreign.include?(column) || taken.any? { |other| (other - column).abs < 2 } }
      (free.empty? ? range : free).min_by { |column| (column - wish).abs }
    end

    # Lines that do not meet share a row.
    def number_rows
      placed = []
      waiting = lines.reject { |line| line.to == [line.from] }.sort_by { |line| [line.span.size, line.from] }
      until waiting.empty?
        line = waiting.delete(next_above(waiting))
        line.row = (placed.select { |other| other.meets?(line) }.map(&:row).max || -1) + 1
        placed << line
      end
    end

    # Short lines first, so that they turn off before the long ones; but a line that leaves where another one enters
    # runs above it.
    def next_above(waiting)
      waiting.find { |line| waiting.none? { |other| other != line && line.to.include?(other.from) } } || waiting.first
    end
  end
end
