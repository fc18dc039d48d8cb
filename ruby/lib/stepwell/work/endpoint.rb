# frozen_string_literal: true

module Stepwell
  module Work
    # Metrics and health of a fleet's processes by HTTP: each process has a port of its own, so that each can be asked.
    # @api private
    module Endpoint
      LAST_PORT = 65_535

      module_function

      # @param text [String] "9500" or "0.0.0.0:9500"
      # @return [Array(String, Integer)] address, and the port of the process number 1
      # @raise [ConfigurationError]
      def parse(text)
        Native.listen(text)
      end

      # Answers for a process until that stops.
      # @param options [Options]
      # @param worker [Worker] started
      # @param number [Integer] of the process, from 1
      # @return [Native::Endpoint, nil] nil when nobody asked for one
      # @raise [ConfigurationError] when the port cannot be had
      def serve(options, worker, number)
        return unless options.http

        address, first = options.http
        port = first + number - 1
        raise ConfigurationError, "--http: there is no port #{port}" if port > LAST_PORT

        Native::Endpoint.serve(worker.connection.database, [address, port])
      end
    end
  end
end
