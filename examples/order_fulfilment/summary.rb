# frozen_string_literal: true

require "bigdecimal"

module OrderFulfilment
  # What became of the orders: counts, times, money, and why the failed ones failed. Keeps numbers, not tasks.
  class Summary
    Failure = Struct.new(:orders, :order_id, :message)
    Sample = Struct.new(:order_id, :task, :retries)

    # @return [Sample, nil] the order worth drawing: of the complete ones, the one that needed the most attempts
    attr_reader :sample

    def initialize
      @outcomes = Hash.new(0)
      @failures = Hash.new { |all, reason| all[reason] = Failure.new(0) }
      @waits = []
      @runs = []
      @steps = @retries = @defects = 0
      @total = BigDecimal(0)
    end

    # @param order_id [Integer]
    # @param task [Stepwell::Task] as refreshed by Stepwell.wait_all
    def add(order_id, task)
      steps = task.steps
      @outcomes[task.state.to_s] += 1
      add_steps(steps)
      add_times(task, steps)
      retries = steps.sum { |step| retries_of(step) }
      if task.state == :complete
        @total += BigDecimal(steps.find { |step| step.name == "ship_order" }.result.fetch("total"))
      else
        add_failure(order_id, steps.find(&:error))
      end
      @sample = Sample.new(order_id, task, retries) if better_sample?(task, retries)
    end

    # @return [Boolean] whether an order failed for a reason that is not the order's own: no handler named it
    def defects?
      @defects.positive?
    end

    # @param elapsed [Float] seconds from the first submit to the last order's end
    # @return [Array<String>]
    def lines(elapsed)
      [outcome_lines, "",
       row("orders", format("%d in %.2f s", @outcomes.values.sum, elapsed)),
       row("steps", format("%d, %.0f a second, %d retried", @steps, @steps / elapsed, @retries)),
       row("time per order", "#{quantiles(@runs)}   from its first step to its last"),
       row("", "#{quantiles(@waits)}   from submit, all at once, to its last step"),
       row("sum of totals", @total.to_s("F")), failure_lines].flatten
    end

    private

    def add_steps(steps)
      @steps += steps.count { |step| step.state.to_s == "complete" }
      @retries += steps.sum { |step| retries_of(step) }
    end

    def retries_of(step)
      [step.attempt.to_i - 1, 0].max
    end

    def add_times(task, steps)
      started = steps.filter_map(&:started_at).min
      ended = steps.filter_map(&:finished_at).max
      @runs << (ended - started) if started && ended
      @waits << (task.finished_at - task.created_at) if task.finished_at
    end

    def add_failure(order_id, step)
      error = step&.error || {}
      @defects += 1 unless error["code"]
      failure = @failures[error["code"] || error["class"] || "no reason given"]
      failure.orders += 1
      failure.order_id ||= order_id
      failure.message ||= "#{step&.name}: #{error["message"]}"
    end

    def better_sample?(task, retries)
      return true unless @sample

      task.state == :complete && (@sample.task.state != :complete || retries > @sample.retries)
    end

    def outcome_lines
      most = @outcomes.values.max || 0
      @outcomes.sort_by { |_, count| -count }.map do |state, count|
        row(state, "#{count.to_s.rjust(most.to_s.length)}  #{"█" * [40 * count / most, 1].max}")
      end
    end

    def failure_lines
      return [] if @failures.empty?

      ["", "why orders failed", *@failures.sort_by { |_, failure| -failure.orders }.map do |reason, failure|
        row(reason, "#{failure.orders}, such as order #{failure.order_id} (#{failure.message})")
      end]
    end

    def quantiles(times)
      return "no times" if times.empty?

      "p50 #{duration(quantile(times, 0.50))}  p99 #{duration(quantile(times, 0.99))}"
    end

    def quantile(times, share)
      times.sort[[(times.size * share).ceil - 1, 0].max]
    end

    def duration(seconds)
      (seconds < 1 ? format("%.1f ms", seconds * 1000) : format("%.2f s", seconds)).rjust(8)
    end

    def row(label, text)
      "  #{label.ljust(16)} #{text}"
    end
  end
end
