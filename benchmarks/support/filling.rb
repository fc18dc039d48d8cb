# frozen_string_literal: true

module Bench
  # Fills a database: with tasks that have finished, and with tasks whose steps wait for their turn.
  module Filling
    # Made by statements over all and not by running them: inserted as the product inserts rows, in the order of time,
    # of the last day, then finished in their pages, and vacuumed. So pages are as full as the product leaves them. Were
    # they inserted finished, many would keep a place that a new row, which is smaller, still fits in, and new tasks
    # would touch a page each.
    FINISHED = <<~SQL
      insert into stepwell.tasks (task_id, created_at, workflow_id, steps_remaining, state, context)
      select overlay(gen_random_uuid()::text placing left(stepwell.uuid_v7_floor(m.at)::text, 15) from 1 for 15)::uuid,
             m.at, w.workflow_id, w.steps, 'in_progress', '{}'
        from generate_series(1, TASKS) n
       cross join lateral (select stepwell.now() - interval '1 day' + n * interval '1 day' / (TASKS + 1) as at) m
       cross join (select workflow_id, count(*) as steps
                     from stepwell.workflows join stepwell.workflow_steps s using (workflow_id)
                    where namespace = 'bench' and workflows.name = 'chain' group by workflow_id) w order by n;
      insert into stepwell.steps (task_id, position, name, state, waiting_on, attempt, max_attempts, depends_on, dependents)
      select t.task_id, s.position, s.name, 'pending', coalesce(cardinality(s.depends_on), 0), 0, s.max_attempts,
             s.depends_on, s.dependents
        from stepwell.tasks t join stepwell.workflow_steps s using (workflow_id) order by t.task_id, s.position;
      update stepwell.steps s
         set started_at = t.created_at + s.position * interval '10 ms',
             finished_at = t.created_at + (s.position + 1) * interval '10 ms', state = 'complete', waiting_on = 0,
             attempt = 1, worker_id = 'worker.example:1:00abcd', result = '1'
        from stepwell.tasks t where t.task_id = s.task_id;
      update stepwell.tasks set state = 'complete', finished_at = created_at + interval '50 ms', steps_remaining = 0;
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

    # Makes the workflows known, as a process that knows them does.
    def define(context, database, kinds)
      kinds.each do |kind|
        runner = Stepwell.runner("Rust", context.cluster.url(database), log: context.log, kind: kind, mode: "serve",
                                                                        roles: "client")
        runner.ready
        runner.stop
      end
    end

    def finished(cluster, database, tasks)
      cluster.query(FINISHED.gsub("TASKS", tasks.to_s), database: database) unless tasks.zero?
    end

    def ready(cluster, database, tasks)
      cluster.query(READY.gsub("TASKS", tasks.to_s), database: database)
    end
  end
end
