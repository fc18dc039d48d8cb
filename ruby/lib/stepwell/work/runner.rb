# frozen_string_literal: true

module Stepwell
  module Work
    # A process's worker, until it is told to stop: by a signal, or by its supervisor.
    # @api private
    class Runner
      # @param options [Options]
      # @param place [String, nil] "2 of 4" in a fleet
      # @param orders [IO, nil] where the supervisor says what to do; its end is the supervisor's
      def initialize(options, place: nil, orders: nil)
        @options = options
        @title = ["stepwell work #{options.namespaces.join(",")}", place && "[#{place}]"].compact.join(" ")
        @orders = orders
        @orphans = Orphans.new(Orphans::OF_A_WORKER) if Process.pid == 1
      end

      # @yield when signals are heard and before the worker starts
      # @yieldparam worker [Worker] not started
      # @return [void]
      # @raise [DatabaseError] when the database refuses, or cannot be reached
      # @raise [ConfigurationError] when there is no database
      def run
        Worker::Signals.trap do |signals|
          show("starting")
          worker = @options.worker
          if block_given?
            yield worker
          else
            worker.start
            Endpoint.serve(@options, worker, 1)
          end
          follow(worker, signals)
        end
      end

      private

      def follow(worker, signals)
        state = nil
        while worker.running?
          show([state, "#{worker.busy} busy"].compact.join(", "))
          order = next_order(signals, state == "retiring" ? 0.1 : 1)
          return stop(worker) if Worker::Signals::STOP.include?(order) || (state == "retiring" && worker.busy.zero?)

          @orphans&.reap
          state = heed(order, worker, state)
        end
      end

      # @return [String, nil] the state after an order that does not stop the worker
      def heed(order, worker, state)
        case order
        when Worker::Signals::DUMP then Worker::ThreadDump.log
        when "RETIRE", *Worker::Signals::QUIET
          worker.quiet
          return order == "RETIRE" ? "retiring" : state || "quiet"
        end
        state
      end

      def next_order(signals, patience)
        readable, = IO.select([signals, @orders].compact, nil, nil, patience)
        return unless readable
        return signals.next(0) if readable.include?(signals)

        order = @orders.gets&.chomp
        return order if order

        @orders = nil
        Logging.log(Logger::WARN, :worker, "the supervisor has ended, so this process stops")
        "TERM"
      end

      def stop(worker)
        show("stopping, #{worker.busy} busy")
        worker.stop(timeout: @options.timeout)
      end

      def show(state)
        Process.setproctitle("#{@title}: #{state}")
      end
    end
  end
end
