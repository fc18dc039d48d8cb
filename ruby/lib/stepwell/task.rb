# frozen_string_literal: true

module Stepwell
  # One run of a workflow. Read when it is first asked for something, and again by {#refresh} and {#wait}.
  class Task
    include OneLine

    # States that a task does not leave by itself.
    TERMINAL = %i[complete error cancelled resolved].freeze

    # @return [String] uuid v7
    attr_reader :id
    # @api private
    attr_reader :connection

    # @api private
    def initialize(connection, id)
      @connection = connection
      @id = id
    end

    # Waits until the task is in a terminal state.
    # @param timeout [Numeric, nil] seconds, none when it is negative; nil and Float::INFINITY wait for ever
    # @return [Task] self, refreshed
    # @raise [WaitTimeout] saying what the task waits for
    # @raise [ValidationError] for what is no number of seconds
    def wait(timeout: nil)
      @connection.client.wait([id], Argument.patience(:timeout, timeout))
      refresh
    end

    # Reads the task again.
    # @return [Task] self
    # @raise [ValidationError] when there is no such task
    def refresh
      adopt(@connection.client.task(id))
    end

    # @api private
    # @param row [String] JSON text of the task as it is now
    # @return [Task] self
    def adopt(row)
      @steps = nil
      @row = JsonValue.parse(row)
      self
    end

    # @return [Symbol] :pending, :in_progress, :complete, :error, :cancelled or :resolved
    def state
      row["state"].to_sym
    end

    # @return [Boolean] whether it is in a state that it does not leave by itself
    def finished?
      TERMINAL.include?(state)
    end

    # @return [String] "namespace/name"
    def workflow
      row["workflow"]
    end

    # @return [String] version of the workflow
    def version
      row["version"]
    end

    # @return [Hash] the context it was submitted with
    def context
      row["context"]
    end

    # @return [Integer] -10 to 10
    def priority
      row["priority"]
    end

    # @return [String, nil]
    def idempotency_key
      row["idempotency_key"]
    end

    # @return [String, nil]
    def correlation_id
      row["correlation_id"]
    end

    # @return [Array<String>]
    def tags
      row["tags"] || []
    end

    # @return [String, nil] why the request was rejected, or what the failed steps said
    def error
      row["error"] || failed_steps_message
    end

    # @return [Time] when it was submitted
    def created_at
      Stepwell.time(row["created_at"])
    end

    # @return [Time, nil] when it reached its terminal state
    def finished_at
      Stepwell.time(row["finished_at"])
    end

    # @return [Array<Step>] in topological order; empty until an orchestrator has taken the task up
    def steps
      @steps ||= JsonValue.parse(@connection.client.steps(id)).map { |step| Step.from_row(step) }
    end

    # @param name [String, Symbol] of a step
    # @return [Object, nil] its result; nil while there is none
    # @raise [ValidationError] when there is no such step
    def result(name)
      name = Argument.text(:name, name)
      step = steps.find { |candidate| candidate.name == name }
      raise ValidationError, "task #{id} has no step #{name}; it has #{steps.map(&:name).join(", ")}" unless step

      step.result
    end

    # @return [Hash{String => Object}] results of the steps that have one, by step name
    def results
      steps.select { |step| %i[complete resolved].include?(step.state) }.to_h { |step| [step.name, step.result] }
    end

    # Cancels the task: steps that have not finished never will. A task that has finished stays as it is.
    # @param reason [String, nil] kept with the task's events
    # @param actor [String, nil] who; by default the database user
    # @return [Task] self, refreshed
    def cancel(reason: nil, actor: nil)
      @connection.client.cancel(id, *Argument.note(reason, actor))
      refresh
    end

    # Gives failed steps fresh attempts.
    # @param steps [Array<String, Symbol>, String, Symbol, nil] which; nil means all that failed
    # @param reason [String, nil] kept with the task's events
    # @param actor [String, nil] who; by default the database user
    # @return [Task] self, refreshed
    # @raise [ValidationError] when there is nothing to retry, or one of the steps has not failed
    def retry(steps: nil, reason: nil, actor: nil)
      steps = Array(steps).map { |step| Argument.text(:steps, step) } unless steps.nil?
      @connection.client.retry(id, steps, *Argument.note(reason, actor))
      refresh
    end

    # Gives a step its result by hand, so that what depends on it goes on. What a handler still reports for it no longer
    # counts. The task is :resolved when that was its last open step.
    # @param step [String, Symbol] one that failed, or that waits for a worker or its next attempt, or is being executed
    # @param result [Object] any JSON
    # @param reason [String, nil] kept with the task's events
    # @param actor [String, nil] who; by default the database user
    # @return [Task] self, refreshed
    # @raise [ValidationError] when there is no such step, it has ended or waits for others, or the result is not JSON
    def resolve(step, result: nil, reason: nil, actor: nil)
      step = Argument.text(:step, step)
      @connection.client.resolve(id, step, JsonValue.generate(result, "result"), *Argument.note(reason, actor))
      refresh
    rescue JsonValue::Refused => e
      raise ValidationError, "the result #{e.message}"
    end

    # @return [Array<Event>] what people and rules did to the task, oldest first
    def events
      JsonValue.parse(@connection.client.events(id)).map { |row| Event.from_row(row) }
    end

    private

    def summary
      [id, @row ? "#{workflow} #{state}" : "not read yet"]
    end

    def row
      refresh unless @row
      @row
    end

    def failed_steps_message
      failed = steps.select { |step| step.state == :error }
      failed.map { |step| "#{step.name}: #{step.error&.fetch("message")}" }.join("; ") unless failed.empty?
    end
  end
end
