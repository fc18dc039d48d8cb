# frozen_string_literal: true

module Bench
  # Fills a database: with tasks that have finished, and with tasks whose steps wait for their turn.
  module Filling
    # Made by two statements and not by running them: rows as the product leaves them, in the order of time, of the last
    # day, and then vacuumed. No dead tuples and no gaps are left of their making.
    FINISHED = <<~SQL
      insert into stepwell.tasks (task_id, created_at, finished_at, workflow_id, steps_remaining, state, context)
      select overlay(gen_random_uuid()::text placing left(stepwell.uuid_v7_floor(m.at)::text, 15) from 1 for 15)::uuid,
             m.at, m.at + interval '50 ms', w.workflow_id, 0, 'complete', '{}'
        from generate_series(1, TASKS) n
       cross join lateral (select stepwell.now() - interval '1 day' + n * interval '1 day' / (TASKS + 1) as at) m
       cross join stepwell.workflows w where w.namespace = 'bench' and w.name = 'chain' order by n;
      insert into stepwell.steps (task_id, started_at, finished_at, state, position, waiting_on, attempt, max_attempts,
                                  depends_on, dependents, name, worker_id, result)
      select t.task_id, t.created_at + s.position * interval '10 ms', t.created_at + (s.position + 1) * interval '10 ms',
             'complete', s.position, 0, 1, s.max_attempts, s.depends_on, s.dependents, s.name, 'worker.example:1:00abcd', '1'
        from stepwell.tasks t join stepwell.workflow_steps s using (workflow_id)
       where t.state = 'complete' order by t.task_id, s.position;
      vacuum analyze;
    SQL

    # By the functions themselves: submitted and initialized, and no worker takes them.
    READY = <<~SQL
      do $do$
      declare
        v_left integer := TASKS;
        v_popped integer;
      begin
        while v_left > 0 loop
          perform from stepwell.submit_tasks(array(
            select '{"workflow": "bench/single", "context": {}, "priority": "low"}'::jsonb
              from generate_series(1, least(v_left, 5000))));
          commit;
          loop
            select i.popped into v_popped from stepwell.initialize_tasks(5000) i;
            commit;
            exit when v_popped = 0;
          end loop;
          v_left := v_left - 5000;
        end loop;
      end $do$;
      vacuum analyze;
    SQL

    module_function

    def finished(cluster, database, tasks)
      cluster.query(FINISHED.gsub("TASKS", tasks.to_s), database: database) unless tasks.zero?
    end

    def ready(cluster, database, tasks)
      cluster.query(READY.gsub("TASKS", tasks.to_s), database: database)
    end
  end
end
