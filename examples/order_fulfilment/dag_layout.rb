# frozen_string_literal: true

module OrderFulfilment
  # Where the steps of a DAG stand when it is drawn from top to bottom: each step one layer below the lowest of its
  # dependencies. A dependency that skips layers passes through them as a narrow node of its own, so every edge joins
  # neighbouring layers.
  class DagLayout
    Node = Struct.new(:name, :width, :left, :parents, :children, keyword_init: true) do
      # The column of the middle.
      def center
        left + (width / 2)
      end

      def columns
        left...left + width
      end

      # @return [Boolean] a step, not an edge passing through
      def step?
        !name.nil?
      end
    end

    GAP = 3

    # @return [Array<Array<Node>>]
    attr_reader :layers

    # @param dependencies [Hash{String => Array<String>}] step => the steps it depends on
    # @param widths [Hash{String => Integer}] step => how many columns its box takes
    def initialize(dependencies, widths)
      @dependencies = dependencies
      @nodes = widths.to_h { |name, width| [name, node(name, width)] }
      @layers = layered
      join
      order
      place
    end

    # @return [Integer] the columns of the whole drawing
    def width
      layers.flatten.map { |node| node.left + node.width }.max || 0
    end

    private

    def node(name, width)
      Node.new(name: name, width: width, left: 0, parents: [], children: [])
    end

    def depth(name)
      @depths ||= {}
      @depths[name] ||= known(name).map { |dependency| depth(dependency) + 1 }.max || 0
    end

    def known(name)
      @dependencies.fetch(name).select { |dependency| @nodes.key?(dependency) }
    end

    def layered
      layers = Array.new((@nodes.keys.map { |name| depth(name) }.max || -1) + 1) { [] }
      @nodes.each { |name, node| layers[depth(name)] << node }
      layers
    end

    # One passing node in each layer between; dependents of the same step share them.
    def join
      passing = {}
      @nodes.each do |name, node|
        known(name).each do |dependency|
          above = @nodes.fetch(dependency)
          (depth(dependency) + 1...depth(name)).each do |layer|
            above = passing[[dependency, layer]] ||= pass(above, layer)
          end
          link(above, node)
        end
      end
    end

    def pass(above, layer)
      passing = node(nil, 1)
      layers[layer] << passing
      link(above, passing)
      passing
    end

    def link(parent, child)
      parent.children << child
      child.parents << parent
    end

    # Each below the middle of its parents, as seen from the top; steps before passing edges where that is a draw.
    def order
      layers.each_cons(2) do |above, layer|
        layer.sort_by!.with_index { |node, i| [mean(node.parents) { |p| above.index(p) }, node.step? ? 0 : 1, i] }
      end
    end

    def mean(nodes, &block)
      nodes.sum(&block).to_f / nodes.size
    end

    def place
      layers.each { |layer| settle(layer, :parents) }
      layers.reverse_each { |layer| settle(layer, :children) }
      layers.each { |layer| settle(layer, :parents) }
      leftmost = layers.flatten.map(&:left).min
      layers.flatten.each { |node| node.left -= leftmost }
    end

    # Puts the nodes of a layer near the middle of their relatives, keeping order and gaps.
    def settle(layer, relatives)
      wishes = layer.map { |node| node[relatives].empty? ? node.center : mean(node[relatives], &:center) }
      pack(layer, wishes)
      shift = layer.zip(wishes).sum { |node, wish| wish - node.center } / layer.size
      layer.each { |node| node.left += shift.round }
    end

    def pack(layer, wishes)
      edge = nil
      layer.zip(wishes) do |node, wish|
        node.left = [(wish - (node.width / 2)).round, edge].compact.max
        edge = node.left + node.width + GAP
      end
    end
  end
end
