# frozen_string_literal: true

require_relative "../../examples/order_fulfilment/dag_drawing"

# Follows the lines of a drawing as an eye does, from the lower border of each box to the boxes they end at.
class DrawnEdges
  # What a line turns into at a joint, by the way it comes.
  TURNS = { "│" => { down: %i[down], left: %i[left], right: %i[right] }, "─" => { left: %i[left], right: %i[right] },
            "┘" => { down: %i[left] }, "└" => { down: %i[right] }, "┴" => { down: %i[left right] },
            "┤" => { down: %i[down left] }, "├" => { down: %i[down right] }, "┼" => { down: %i[down left right] },
            "┬" => { left: %i[down left], right: %i[down right] },
            "┌" => { left: %i[down] }, "┐" => { right: %i[down] } }.freeze
  MOVES = { down: [1, 0], left: [0, -1], right: [0, 1] }.freeze

  def initialize(picture, names)
    @cells = picture.lines(chomp: true).map(&:chars)
    @boxes = names.to_h { |name| [name, box(name)] }
  end

  # @return [Hash{String => Array<String>}] step => the steps it is drawn to depend on
  def to_h
    edges = @boxes.transform_values { [] }
    @boxes.each { |name, (_, bottom, columns)| leaving(bottom, columns).each { |child| edges[child] << name } }
    edges.transform_values { |dependencies| dependencies.uniq.sort }
  end

  private

  # Its upper row, its lower row, its columns.
  def box(name)
    row = @cells.index { |cells| cells.join.match?(/\b#{name}\b/) }
    middle = @cells[row].join.index(name)
    left = middle.downto(0).find { |x| @cells[row][x] == "│" }
    right = (middle..).find { |x| @cells[row][x] == "│" }
    bottom = (row..).find { |y| "└┴".include?(@cells[y][left]) }
    [row - 1, bottom, (left..right)]
  end

  def leaving(row, columns)
    columns.select { |x| @cells[row][x] == "┬" }.flat_map { |x| follow(row, x, :down) }
  end

  def follow(row, column, way)
    row += MOVES[way].first
    column += MOVES[way].last
    end_of_line = @boxes.find { |_, (top, _, columns)| top == row && columns.cover?(column) }
    return [end_of_line.first] if end_of_line

    turns = TURNS.fetch(@cells[row][column]).fetch(way)
    turns.flat_map { |turn| follow(row, column, turn) }
  end
end

RSpec.describe "the demo's drawing of a task" do
  fake_step = Struct.new(:name, :state, :attempt, :error, :started_at, :finished_at, :depends_on, keyword_init: true)

  define_method(:step) do |name, depends_on = [], milliseconds: 3.2, **rest|
    start = Time.at(1_700_000_000)
    finish = start + (Rational(milliseconds.to_s) / 1000)
    fake_step.new(name: name, state: :complete, attempt: 1, started_at: start, finished_at: finish,
                  depends_on: depends_on, **rest)
  end

  def drawn(*steps, **options)
    "#{OrderFulfilment::DagDrawing.new(steps, **options).lines.join("\n")}\n"
  end

  it "shows the diamond in the order workflow" do
    picture = drawn(step("validate_order"), step("reserve_inventory", %w[validate_order], milliseconds: 12),
                    step("process_payment", %w[validate_order reserve_inventory], milliseconds: 1, attempt: 3),
                    step("ship_order", %w[reserve_inventory process_payment], milliseconds: 1500))
    expect(picture).to eq(<<~TEXT)
              ┌───────────────────┐
              │  validate_order   │
              │ ✔ complete 3.2 ms │
              └─────────┬─────────┘
                        ├──────┐
      ┌─────────────────┴──┐   │
      │ reserve_inventory  │   │
      │ ✔ complete 12.0 ms │   │
      └──────────┬─────────┘   │
             ┌───┴─┐           │
             │   ┌─┴───────────┴─────┐
             │   │  process_payment  │
             │   │ ✔ complete 1.0 ms │
             │   │     attempt 3     │
             │   └─────────┬─────────┘
             │             │
          ┌──┴─────────────┴──┐
          │    ship_order     │
          │ ✔ complete 1.50 s │
          └───────────────────┘
    TEXT
  end

  it "shows where and why a task failed, and what never ran" do
    picture = drawn(step("a"),
                    step("b", %w[a], state: :error, attempt: 3, error: { "class" => "X", "code" => "CARD_DECLINED" }),
                    step("c", %w[b], state: :pending, attempt: 0, started_at: nil, finished_at: nil))
    expect(picture).to include("✘ error 3.2 ms", "attempt 3", "CARD_DECLINED", "· pending")
    expect(picture).not_to include("attempt 0")
  end

  it "names the error's class when it has no code" do
    expect(drawn(step("a", state: :error, error: { "class" => "IOError", "code" => nil }))).to include("IOError")
  end

  it "colours the state, and only when asked to" do
    expect(drawn(step("a"))).not_to include("\e")
    expect(drawn(step("a"), colour: true)).to include("\e[32m ✔ complete 3.2 ms \e[0m")
  end

  it "draws any DAG so that its edges can be read back from the picture" do
    random = Random.new(7)
    300.times do
      names = Array.new(1 + random.rand(9)) { |i| "step_#{i}" }
      steps = names.each_with_index.map { |name, i| step(name, names.first(i).select { random.rand(3).zero? }) }
      picture = drawn(*steps)

      expect(DrawnEdges.new(picture, names).to_h).to eq(steps.to_h do |made|
                                                          [made.name, made.depends_on.sort]
                                                        end), picture
    end
  end
end
