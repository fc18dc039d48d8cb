# frozen_string_literal: true

module Stepwell
  module Logging
    # The thread that brings Rust's lines to a logger of the application, which only a thread of Ruby may call. One a
    # process: a forked child starts its own when it makes its first link to a database.
    # @api private
    module Forwarder
      # Seconds that the end of the process waits for a logger that takes its time.
      PATIENCE = 2

      @mutex = Mutex.new

      class << self
        # Rust's lines go to {Stepwell.logger} from here on.
        def start
          @wanted = true
          Native::Logging.forward(true)
          ensure_running
        end

        # Starts the thread where it is wanted and this process has none.
        def ensure_running
          return if !@wanted || @thread&.alive?

          @mutex.synchronize do
            next if @thread&.alive?

            @stopping = false
            @thread = Thread.new { run }
            @thread.name = "stepwell log"
          end
        end

        # Rust's lines go to standard error again. What has come is brought to its end first.
        def stop
          return unless @wanted

          @wanted = false
          @stopping = true
          Native::Logging.wake
          @thread.join(PATIENCE) if @thread&.alive?
          Native::Logging.forward(false)
          @thread = nil
        end

        private

        def run
          loop do
            lines = Native::Logging.next
            lines.each { |line| bring(*line) }
            return if @stopping && lines.empty?
          end
        end

        def bring(severity, component, message, fields)
          Logging.bring(severity, Entry.new(component, message, fields))
        end
      end
    end
  end
end
