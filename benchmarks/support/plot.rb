# frozen_string_literal: true

module Bench
  # Charts as one SVG, below each other: bars, or lines over time.
  class Plot
    WIDTH = 860
    LEFT = 300
    RIGHT = 90
    BAR = 20
    HEIGHT = 180
    COLOURS = %w[#2b6cb0 #c05621 #2f855a #6b46c1 #b83280 #4a5568].freeze

    # @param charts [Array<Hash>] title:, unit:, and bars: {name => value} or lines: {name => [[x, y], …]}
    # @return [String]
    def self.render(charts, note)
      new.render(charts, note)
    end

    def render(charts, note)
      @top = 30
      shapes = [text(10, 18, note, size: 11), *charts.map { |chart| draw(chart) }]
      %(<svg xmlns="http://www.w3.org/2000/svg" width="#{WIDTH}" height="#{@top}" font-family="sans-serif">\n) +
        %(<rect width="100%" height="100%" fill="white"/>\n#{shapes.flatten.join("\n")}\n</svg>\n)
    end

    private

    def draw(chart)
      @top += 24
      title = text(10, @top, "#{chart[:title]} (#{chart[:unit]})", size: 14, weight: "bold")
      [title, chart[:bars] ? bars(chart[:bars]) : lines(chart[:lines])]
    end

    def bars(values)
      largest = values.values.max.to_f
      shapes = values.map do |name, value|
        @top += BAR
        width = largest.zero? ? 0 : (value / largest * (WIDTH - LEFT - RIGHT)).round(1)
        [text(LEFT - 8, @top, name, anchor: "end"), text(LEFT + width + 6, @top, Targets.number(value)),
         %(<rect x="#{LEFT}" y="#{@top - 12}" width="#{width}" height="#{BAR - 5}" fill="#{COLOURS.first}"/>)]
      end
      @top += 10
      shapes
    end

    # All from zero.
    def lines(series)
      points = series.values.flatten(1)
      return [] if points.empty?

      largest = points.transpose.map { |numbers| [numbers.max.to_f, 1e-9].max }
      bottom = @top + HEIGHT
      shapes = series.each_with_index.map { |(name, line), n| curve(name, line, n, largest, bottom) }
      @top = bottom + 34
      [%(<path d="M60 #{bottom - HEIGHT + 10}V#{bottom}H#{WIDTH - 160}" stroke="black" fill="none"/>),
       text(54, bottom - HEIGHT + 20, Targets.number(largest[1]), anchor: "end"), text(54, bottom, "0", anchor: "end"),
       text(WIDTH - 160, bottom + 16, Targets.number(largest[0]), anchor: "end"), *shapes]
    end

    def curve(name, line, number, largest, bottom)
      colour = COLOURS[number % COLOURS.size]
      points = line.map do |x, y|
        "#{(60 + (x / largest[0] * (WIDTH - 220))).round(1)},#{(bottom - (y / largest[1] * (HEIGHT - 20))).round(1)}"
      end
      [%(<polyline points="#{points.join(" ")}" fill="none" stroke="#{colour}" stroke-width="1.5"/>),
       text(WIDTH - 150, bottom - HEIGHT + 20 + (number * 16), name, colour: colour)]
    end

    def text(left, top, words, size: 12, anchor: "start", weight: "normal", colour: "black")
      escaped = words.to_s.gsub("&", "&amp;").gsub("<", "&lt;")
      %(<text x="#{left}" y="#{top}" font-size="#{size}" text-anchor="#{anchor}" font-weight="#{weight}" ) +
        %(fill="#{colour}">#{escaped}</text>)
    end
  end
end
