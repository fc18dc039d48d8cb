# frozen_string_literal: true

module Specs
  module Faults
    # Stands between processes and their PostgreSQL, and breaks their connections on demand. See programs/proxy.rb.
    class Proxy
      attr_reader :process

      # @param upstream [String] HOST:PORT, or the path of a Unix socket
      def initialize(upstream)
        @process = Program.new(:proxy, env: { "UPSTREAM" => upstream })
      end

      # @return [String] HOST:PORT where it listens
      def address
        "127.0.0.1:#{process.ready}"
      end

      %w[cut blackhole heal].each { |command| define_method(command) { tell(command) } }

      # @return [Integer] connections of before {#heal} that their clients still have
      def held
        process.puts("held")
        process.gets.to_i
      end

      # @param address [String] where new connections go from now on
      def switch(address)
        tell("upstream #{address}")
      end

      # Arms it for one answer, and returns when that has been lost.
      # @param function [String] of the schema stepwell
      def lose_answer(function)
        process.puts("lose #{function}")
        said = process.gets(30)
        raise "the proxy said #{said.inspect}: #{process.log}" unless said == "lost #{function}"
      end

      private

      def tell(command)
        process.puts(command)
        said = process.gets
        raise "the proxy said #{said.inspect}: #{process.log}" unless said == "done"
      end
    end
  end
end
