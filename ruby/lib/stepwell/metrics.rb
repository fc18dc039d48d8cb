# frozen_string_literal: true

# What this process counts.
module Stepwell
  class << self
    # The metrics of this process in the text format of Prometheus (version 0.0.4): of its orchestrators, its workers
    # and its submits, with the label database of each. They are documented in docs/operations/metrics.md. Asks the
    # databases of orchestrators how their queues are, at most every three seconds, and waits for a few seconds at most
    # when one does not answer.
    # @example a route for Prometheus
    #   run ->(_env) { [200, { "content-type" => "text/plain; version=0.0.4" }, [Stepwell.metrics]] }
    # @return [String] empty while nothing of Stepwell is in use here
    def metrics
      users = running.to_a.select(&:running?).map(&:connection)
      submits = @mutex.synchronize { @connections.select { |(pid, _url), _| pid == Process.pid }.values }
      Native.metrics((users + submits).map(&:database).uniq)
    end
  end
end
