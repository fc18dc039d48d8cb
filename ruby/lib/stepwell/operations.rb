# frozen_string_literal: true

module Stepwell
  # What operating needs: pausing and limiting namespaces, dead letters. All of it is kept with who did it and why, in
  # stepwell.task_events.
  class << self
    # Pauses a namespace: none of its steps is claimed until it is resumed. What workers hold goes on: what is being
    # executed, and at most 50 ms of work ahead.
    # @param namespace [String, Symbol]
    # @param reason [String, nil]
    # @param actor [String, nil] who; by default the database user
    # @return [Boolean] whether it was not paused already
    # @raise [ValidationError] when there is no such namespace
    def pause(namespace, reason: nil, actor: nil)
      connection.client.pause(Argument.text(:namespace, namespace), *Argument.note(reason, actor))
    end

    # Lets a paused namespace go on.
    # @param namespace [String, Symbol]
    # @param reason [String, nil]
    # @param actor [String, nil] who; by default the database user
    # @return [Boolean] whether it was paused
    # @raise [ValidationError] when there is no such namespace
    def resume(namespace, reason: nil, actor: nil)
      connection.client.resume(Argument.text(:namespace, namespace), *Argument.note(reason, actor))
    end

    # @return [Array<String>] the namespaces that are paused
    def paused
      connection.client.paused
    end

    # Limits a namespace, for all workers, from now on. What was limited before and is not named now is free.
    # @param namespace [String, Symbol]
    # @param concurrency [Integer, nil] most steps of it at the same time, those that stand in its queue included
    # @param rate [Integer, nil] most steps that come into its queue within any period
    # @param period [Numeric] seconds, 0.1 to a day
    # @param reason [String, nil]
    # @param actor [String, nil] who; by default the database user
    # @return [void]
    # @raise [ValidationError] when there is no such namespace, or a limit is none
    def limit(namespace, concurrency: nil, rate: nil, period: 1, reason: nil, actor: nil)
      namespace = Argument.text(:namespace, namespace)
      { concurrency: concurrency, rate: rate }.compact.each { |it| Argument.integer(*it, 1..1_000_000) }
      period = Argument.seconds(:period, period)
      connection.client.limit(namespace, concurrency, rate && [rate, period], *Argument.note(reason, actor))
      nil
    end

    # @return [Array<QueueStatus>] each namespace: what stands in its queue, what waits for a place there, and why
    def queues
      QueueStatus.parse(connection.client.queues)
    end

    # @param queue [String, nil] "task_requests", "step_results" or a namespace's queue, such as "orders_queue"; nil
    #   means all
    # @param limit [Integer] at most so many
    # @param before [DeadLetter, Integer, nil] only those after this one in the list, to read on; its id will do where
    #   there is one database
    # @return [Array<DeadLetter>] the newest first, of all databases
    # @raise [ValidationError] when the limit is no number from 1 to 10,000, or before is an id and there are several
    #   databases
    def dead_letters(queue: nil, limit: 100, before: nil)
      queue = Argument.optional_text(:queue, queue)
      Argument.integer(:limit, limit, 1..10_000)
      before = before.is_a?(DeadLetter) ? before.position : [letter_id(:before, before), nil] unless before.nil?
      JsonValue.parse(connection.client.dead_letters(queue, limit, before)).map { |row| DeadLetter.from_row(row) }
    end

    # Puts dead letters back into the queues that they came from; one that still cannot be used comes back.
    # @param letters [Array<DeadLetter, Integer>, DeadLetter, Integer] or their ids
    # @param reason [String, nil]
    # @param actor [String, nil] who; by default the database user
    # @return [Array<Integer>] ids of those that were there, and have been put back
    # @raise [ValidationError] when several databases have a letter with an id: give the letter itself
    def replay(letters, reason: nil, actor: nil)
      letters = [letters] unless letters.is_a?(Array)
      letters = letters.map { |it| it.is_a?(DeadLetter) ? [it.id, it.database] : [letter_id(:letters, it), nil] }
      connection.client.replay(letters, *Argument.note(reason, actor))
    end

    private

    # @return [Integer] also out of a text, as a command line has it
    def letter_id(name, id)
      number = Integer(id, exception: false) unless id.is_a?(Float) && id % 1 != 0
      return Argument.integer(name, number, 0..((2**63) - 1)) if number

      raise ValidationError, "#{name}: #{Argument.shown(id)} is no dead letter, and no id of one"
    end
  end
end
