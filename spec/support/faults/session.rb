# frozen_string_literal: true

module Specs
  module Faults
    # A psql that stays: somebody with a transaction of their own.
    class Session
      MARK = "-- that was it"

      # @param url [String]
      def initialize(url)
        @psql = IO.popen(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", url, { err: %i[child out] }], "r+")
      end

      # @param sql [String] statements, the last with its semicolon
      # @return [Array<String>] the lines that they print
      def run(sql)
        @psql.puts(sql, "\\echo #{MARK}")
        lines = []
        Timeout.timeout(30) do
          while (line = @psql.gets&.chomp) != MARK
            raise "psql ended: #{lines}" unless line

            lines << line
          end
        end
        lines
      end

      # Ends it, and what it has not committed.
      def close
        @psql.close
      end
    end
  end
end
