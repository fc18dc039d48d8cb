# frozen_string_literal: true

module Specs
  module Faults
    # The processes of an example, all on one database. Whoever is killed is replaced.
    class Crew
      attr_reader :programs, :acks, :notes, :env

      # @param url [String] the database
      # @param folder [String] for the files in which handlers and clients note what they have done
      # @param known [Array<Symbol>] warnings that may stand in the logs
      # @param env [Hash{Symbol, String => String}] for all processes
      # @yieldparam program [Program] each one that is started
      def initialize(url, folder, known:, env: {}, &started)
        @notes, @acks = %w[notes acks].map { |name| File.join(folder, name).tap { |path| FileUtils.touch(path) } }
        @env = { "DATABASE_URL" => url, "NOTES" => @notes, "ACKS" => @acks, **SETTINGS, **env.transform_keys(&:to_s) }
        @known = known
        @started = started
        @programs = []
      end

      # @return [Program] perhaps not ready yet
      def start(role, through: [], **env)
        program = Program.new(role, env: { **@env, **env.transform_keys(&:to_s) }, through: through)
        @started.call(program)
        @programs << program
        program
      end

      # Starts many at once. @return [Array<Program>] when all are ready
      def muster(**numbers)
        numbers.flat_map { |role, number| Array.new(number) { start(role) } }.each(&:ready)
      end

      # @return [Array<Program>] of this role, alive
      def all(role)
        @programs.select { |program| program.role == role && !program.over? }
      end

      # kill -9 of one, and another in its place.
      # @return [Program] the dead one
      def replace(role, random)
        all(role).sample(random: random).tap do |victim|
          victim.ready # or it would die before it has done anything
          victim.kill
          start(role)
        end
      end

      # Lets all end in order: who submits, who executes, who coordinates.
      # @raise [RuntimeError] when one does not end well
      def stop
        %i[client worker embedded orchestrator].each do |role|
          all(role).each(&:ready).each(&:close).each do |program|
            raise "#{program.describe} ended with #{program.ended}: #{program.log}" unless program.ended.success?
          end
        end
      end

      # @return [Hash{Program => Log}]
      def logs
        @programs.to_h { |program| [program, Log.new(program.errors, @known)] }
      end

      # @return [String] for people, when something has gone wrong
      def describe
        @programs.map do |program|
          "#{program.describe}#{" (over)" if program.over?}:\n#{excerpt(program.errors)}"
        end.join("\n")
      end

      private

      def excerpt(text)
        lines = text.lines
        lines.size > 30 ? [*lines.first(15), "  ... #{lines.size - 30} lines ...\n", *lines.last(15)].join : text
      end
    end
  end
end
