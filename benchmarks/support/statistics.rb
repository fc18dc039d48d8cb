# frozen_string_literal: true

module Bench
  # Medians and percentiles.
  module Statistics
    module_function

    def median(values)
      sorted = values.sort
      middle = sorted.size / 2
      sorted.size.odd? ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2.0
    end

    def percentile(values, share)
      values.sort[(values.size * share).ceil - 1]
    end

    # @return [Hash{String => Float}] p50, p95, p99 and how many there are
    def summary(values)
      { "p50" => percentile(values, 0.5), "p95" => percentile(values, 0.95), "p99" => percentile(values, 0.99),
        "samples" => values.size }
    end
  end
end
