# frozen_string_literal: true

module Bench
  # What the benchmarks of one run share.
  class Context
    attr_reader :cluster, :log, :options

    # @param options [Hash] quick:, peers:, rounds:, seconds:
    def initialize(cluster, log, options)
      @cluster = cluster
      @log = log
      @options = options
    end

    def quick?
      @options[:quick]
    end

    # @return [Object] one of the two: what is measured, or what shows whether it still works
    def pick(full, quick)
      quick? ? quick : full
    end

    def rounds
      @options[:rounds] || pick(5, 1)
    end

    # Measures by turns, so that what disturbs the machine for a while disturbs all alike: A B A B A B.
    # @return [Hash{String => Array<Hash>}] by name, one of each round
    def alternate(names)
      measured = names.to_h { |name| [name, []] }
      rounds.times do |round|
        names.each do |name|
          result = yield name
          measured.fetch(name) << result
          say "#{name}, round #{round + 1}: #{glance(result)}"
        end
      end
      measured
    end

    # @yieldparam database [String] like the template; dropped at the end
    def on_fresh(template = migrated)
      database = @cluster.create(template: template)
      yield database
    ensure
      @cluster.drop(database) if database
    end

    # Measures on a database that stays.
    # @yieldparam url [String]
    # @yieldreturn [Array<Contestant>]
    def measure_on(database)
      Measurement.new(@cluster, database).run { yield @cluster.url(database) }
    end

    # Measures on a fresh database.
    # @yieldparam url [String]
    # @yieldreturn [Array<Contestant>]
    def measure(template = migrated, &block)
      on_fresh(template) do |database|
        measure_on(database, &block)
      end
    end

    # @return [String] name of a database with our schema, to make others from
    def migrated
      @migrated ||= @cluster.create.tap { |database| migrate(database) }
    end

    def migrate(database)
      command = [*Stepwell::SERVE[0...-1], "migrate"]
      printed, status = Open3.capture2e(Stepwell.env(@cluster.url(database)), *command)
      raise "stepwell migrate failed: #{printed}" unless status.success?
    end

    def say(text)
      warn "  #{text}" unless @options[:silent]
    end

    private

    def glance(result)
      return "#{(result["steps"] / result["seconds"]).round} a second" if result["seconds"]

      parts = result.slice("start", "hop", "whole")
      parts.map { |name, values| "#{name} p50 #{Statistics.median(values).round(2)} ms" }.join(", ")
    end
  end
end
