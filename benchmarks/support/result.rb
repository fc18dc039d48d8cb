# frozen_string_literal: true

module Bench
  # What one benchmark has found: a table for people, everything for the JSON, charts, and pairs of which targets speak.
  class Result
    # @!attribute [r] pairs
    #   @return [Hash{Symbol => Array<Float>}] by target, a ratio of each round
    attr_reader :name, :headings, :rows, :data, :charts, :pairs

    def initialize(name, headings)
      @name = name
      @headings = headings
      @rows = []
      @data = {}
      @charts = []
      @pairs = {}
    end

    def row(*cells)
      @rows << cells
    end

    # Keeps what was measured, as it was.
    def keep(name, rounds)
      @data[name] = rounds
    end

    def chart(title, unit, values)
      @charts << { title: title, unit: unit, bars: values }
    end

    def line(title, unit, series)
      @charts << { title: title, unit: unit, lines: series }
    end

    # Ratios of two, round by round.
    def pair(target, ones, others)
      @pairs[target] = ones.zip(others).map { |one, other| one / other }
    end
  end

  # Rates of rounds.
  module Rates
    module_function

    def of(rounds)
      rounds.map { |round| round["steps"] / round["seconds"] }
    end

    def median(rounds)
      Statistics.median(of(rounds))
    end

    # A value of a step, as a median: `typical { |round| round["wal"] / round["steps"] }`.
    def typical(rounds, &block)
      Statistics.median(rounds.map(&block))
    end
  end
end
