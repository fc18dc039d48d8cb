# frozen_string_literal: true

require_relative "dag_layout"
require_relative "dag_routes"

module OrderFulfilment
  # Draws the steps of one task as boxes, dependencies above dependents, with state, time and attempts. Needs of a step:
  # name, state, attempt, error, started_at, finished_at, depends_on.
  class DagDrawing
    SIGNS = { "complete" => ["✔", 32], "resolved" => ["✔", 36], "error" => ["✘", 31], "cancelled" => ["⊘", 33],
              "in_progress" => ["▶", 34], "waiting_for_retry" => ["↻", 33] }.freeze
    OTHER = ["·", 90].freeze

    # What a line is drawn with where it has these neighbours.
    JOINTS = { %i[up left] => "┘", %i[up right] => "└", %i[down left] => "┐", %i[down right] => "┌",
               %i[up left right] => "┴", %i[down left right] => "┬", %i[up down left] => "┤", %i[up down right] => "├",
               %i[up down left right] => "┼" }.freeze

    # @param steps [Array<Stepwell::Step>] of one task
    # @param colour [Boolean]
    def initialize(steps, colour: false)
      @colour = colour
      @boxes = steps.to_h { |step| [step.name, texts(step)] }
      @signs = steps.to_h { |step| [step.name, sign(step)] }
      widths = @boxes.transform_values { |texts| texts.map(&:length).max + 4 }
      @layout = DagLayout.new(steps.to_h { |step| [step.name, step.depends_on] }, widths)
    end

    # @return [Array<String>] the lines of the drawing
    def lines
      @rows = []
      layers = @layout.layers
      routes = layers.each_cons(2).map { |above, below| DagRoutes.new(above, below).lines }
      [[], *routes].zip(layers, [*routes, []]) do |entering, layer, leaving|
        draw_layer(layer, entering.flat_map(&:to), leaving.map(&:from)) if layer
        draw_routes(leaving) unless leaving.empty?
      end
      @rows.map { |row| row.map { |cell| cell || " " }.join.rstrip }
    end

    private

    def texts(step)
      tries = "attempt #{step.attempt}" if step.attempt.to_i > 1
      [step.name, ["#{sign(step).first} #{step.state}", duration(step)].compact.join(" "), tries,
       step.error && (step.error["code"] || step.error["class"])].compact
    end

    def sign(step)
      SIGNS.fetch(step.state.to_s, OTHER)
    end

    def duration(step)
      return unless step.started_at && step.finished_at

      milliseconds = (step.finished_at - step.started_at) * 1000
      milliseconds < 1000 ? format("%.1f ms", milliseconds) : format("%.2f s", milliseconds / 1000)
    end

    def draw_layer(layer, columns_in, columns_out)
      height = layer.select(&:step?).map { |node| @boxes.fetch(node.name).size }.max
      top = @rows.size
      layer.each { |node| node.step? ? box(node, top, height) : pipe(node.left, top, top + height + 1) }
      ends(layer, columns_in, top, "┴")
      ends(layer, columns_out, top + height + 1, "┬")
    end

    # Opens the border of a box where a line meets it.
    def ends(layer, columns, row, joint)
      boxes = layer.select(&:step?)
      columns.each { |x| put(row, x, joint) if boxes.any? { |node| node.columns.cover?(x) } }
    end

    def box(node, top, height)
      inner = node.width - 2
      write(top, node.left, "┌#{"─" * inner}┐")
      height.times do |line|
        text = @boxes.fetch(node.name)[line].to_s
        write(top + 1 + line, node.left, "│#{text.center(inner)}│")
        paint(node, top + 1 + line) if line == 1
      end
      write(top + height + 1, node.left, "└#{"─" * inner}┘")
    end

    def paint(node, row)
      return unless @colour

      first = node.left + 1
      @rows[row][first] = "\e[#{@signs.fetch(node.name).last}m#{@rows[row][first]}"
      @rows[row][node.left + node.width - 2] += "\e[0m"
    end

    # Sideways first, then down over it, then the joints: a line that crosses another is seen to pass it.
    def draw_routes(routes)
      top = @rows.size
      bent, straight = routes.partition(&:row)
      bottom = top + (bent.map(&:row).max || 0)
      bent.each { |line| sideways(line, top + line.row) }
      straight.each { |line| pipe(line.from, top, bottom) }
      bent.each do |line|
        pipe(line.from, top, top + line.row)
        line.to.each { |x| pipe(x, top + line.row, bottom) }
      end
      bent.each { |line| joints(line, top + line.row) }
    end

    def sideways(line, row)
      line.span.each { |x| put(row, x, "─") }
    end

    def joints(line, row)
      [line.from, *line.to].uniq.each do |x|
        sides = { up: x == line.from, down: line.to.include?(x), left: x > line.span.begin, right: x < line.span.end }
        put(row, x, JOINTS.fetch(sides.select { |_, there| there }.keys))
      end
    end

    def pipe(column, from, to)
      (from..to).each { |row| put(row, column, "│") }
    end

    def write(row, column, text)
      text.each_char.with_index { |char, i| put(row, column + i, char) }
    end

    def put(row, column, char)
      @rows << [] while @rows.size <= row
      @rows[row][column] = char
    end
  end
end
