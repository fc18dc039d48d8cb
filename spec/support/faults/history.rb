# frozen_string_literal: true

module Specs
  module Faults
    # What became of everything, by three witnesses that do not know of each other: the client (which submits were
    # acknowledged), the handlers (what was executed), the database (what was applied).
    class History
      # @param session [Session] of the database
      # @param crew [Crew]
      def initialize(session, crew)
        @session = session
        @crew = crew
      end

      # @return [Integer] numbers whose submit was acknowledged
      def tasks
        numbers.map(&:first).uniq.size
      end

      # @return [Array<String>] acknowledged tasks that do not exist, or have not ended as they must
      def lost
        width = @crew.env["WIDTH"].to_i
        @lost ||= numbers.reject { |number, task| ended[task] == Expected.outcome(number, width: width) }
                         .map { |number, task| "task #{task} of #{number} ended with #{ended[task].inspect}" }
      end

      # @return [Array<String>] whatever happened twice: a task for one key, an execution or an outcome of an attempt
      def doubled
        @doubled ||=
          numbers.group_by(&:first).reject { |_, tasks| tasks.one? }.map { |key, tasks| "key #{key} is #{tasks}" } +
          executions.select { |_, times| times > 1 }.map { |attempt, times| "#{attempt.join(" ")}: #{times} times" } +
          outcomes
      end

      # @return [Array<String>] tasks in the database that nobody acknowledged
      def strays
        rows("select task_id from stepwell.tasks").flatten - numbers.map(&:last)
      end

      # @return [Array<Array>] queue and reason of each
      def dead_letters
        rows("select queue, reason from stepwell.dead_letters order by 1, 2")
      end

      # @return [Array<String>] what should be empty at the end
      def leftovers
        queues = rows("select 'q_' || queue_name from pgmq.meta").flatten.map { |name| "pgmq.#{name}" }
        ours = %w[claims step_timers unvalidated_tasks ready_steps keyed_steps touched_keys]
        tables = [*queues, *ours.map { |name| "stepwell.#{name}" }]
        counts = tables.map { |table| "select '#{table}', count(*) from #{table}" }.join(" union all ")
        rows(counts).reject { |_, count| count == "0" }.map { |row| row.join(": ") }
      end

      # @return [Integer] that PostgreSQL has counted since it started
      def deadlocks
        rows("select deadlocks from pg_stat_database where datname = current_database()").flatten[0].to_i
      end

      # @return [Array<String>]
      def violations
        rows("select * from stepwell.check_invariants()").map { |row| row.join(" ") }
      end

      # @return [Array<Array>] task, step and attempt of the executions whose outcome did not count
      def wasted
        @wasted ||= executions.keys - applied - failed
      end

      # @return [Array<Array>] outcomes of attempts that nobody has executed
      def invented
        (applied + failed) - executions.keys
      end

      # @return [Integer] attempts that ended because a worker was lost, executed or not
      def leases_lost
        @leases_lost ||= rows("select count(*) from stepwell.step_attempts where kind = 'lost_lease'").flatten[0].to_i
      end

      # @param times [Array<Time>] of the faults
      # @return [Float, nil] longest time in seconds from a fault to the end of the next task
      def recovery(times)
        ends = rows("select extract(epoch from finished_at) from stepwell.tasks order by 1").flatten.map(&:to_f)
        times.map { |time| ends.bsearch { |at| at > time.to_f }&.-(time.to_f) }.compact.max
      end

      private

      # @return [Array<(Integer, String)>] number and task
      def numbers
        @numbers ||= File.foreach(@crew.acks).map(&:split).map { |number, task| [number.to_i, task] }.uniq
      end

      # @return [Hash{Array => Integer}] task, step and attempt, and how often they were executed
      def executions
        @executions ||= File.foreach(@crew.notes).map { |line| line.split.first(3) }.tally
      end

      def ended
        @ended ||= rows(<<~SQL).to_h { |task, state, results| [task, [state, JSON.parse(results)]] }
          select t.task_id, t.state, jsonb_object_agg(s.name, s.result) filter (where s.state = 'complete')
            from stepwell.tasks t join stepwell.steps s using (task_id) where t.finished_at is not null group by 1
        SQL
      end

      # Every attempt but a complete step's last has exactly one record of why it did not count.
      def outcomes
        rows(<<~SQL).map { |row| "outcomes of #{row.join(" ")}" }
          select s.task_id, s.name, s.attempt, coalesce(array_agg(a.attempt::int order by a.attempt)
                   filter (where a.attempt is not null), '{}') as recorded
            from stepwell.steps s left join stepwell.step_attempts a using (task_id, position)
           where s.state in ('complete', 'error')
           group by 1, 2, s.attempt, s.state
          having coalesce(array_agg(a.attempt::int order by a.attempt) filter (where a.attempt is not null), '{}')
                 <> array(select generate_series(1, s.attempt - (s.state = 'complete')::int))
        SQL
      end

      def applied
        @applied ||= rows("select task_id, name, attempt from stepwell.steps where state = 'complete'")
      end

      def failed
        @failed ||= rows("select a.task_id, s.name, a.attempt from stepwell.step_attempts a
                          join stepwell.steps s using (task_id, position) where a.kind <> 'lost_lease'")
      end

      def rows(sql)
        @session.run("#{sql.chomp};").map { |line| line.split("|", -1) }
      end
    end
  end
end
