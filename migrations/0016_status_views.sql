-- What people and dashboards read.

-- The steps that an unexpired claim holds: they are in progress.
create view stepwell.steps_in_progress as
  select u.task_id, u.position, u.attempt, c.worker_id, c.claimed_at, c.expires_at
    from stepwell.claims c
   cross join unnest(c.task_ids, c.positions, c.attempts) as u (task_id, position, attempt)
   where c.expires_at > stepwell.now();

create view stepwell.step_status as
  select s.task_id, s.position, s.name,
         case when p.task_id is not null then 'in_progress'
              when s.state = 'enqueued' and (r.task_id is not null or k.task_id is not null) then 'ready'
              else s.state::text end as state,
         s.attempt, s.max_attempts, coalesce(p.worker_id, s.worker_id) as worker_id,
         s.started_at, s.finished_at, s.run_at, s.waiting_on, s.depends_on, s.result, s.progress,
         a.kind as error_kind, a.error_class, a.code as error_code, a.message as error_message
    from stepwell.steps s
    left join stepwell.steps_in_progress p
      on p.task_id = s.task_id and p.position = s.position and p.attempt = s.attempt and s.state = 'enqueued'
    left join stepwell.keyed_steps k
      on k.task_id = s.task_id and k.position = s.position and k.attempt = s.attempt and not k.admitted
    left join lateral (
      select w.task_id from stepwell.tasks t join stepwell.workflows f using (workflow_id) join stepwell.ready_steps w
          on w.namespace = f.namespace and w.dispatch_at = stepwell.dispatch_at(t.created_at, t.priority, (select d.boost from stepwell.dispatch_settings d))
         and w.task_id = s.task_id and w.position = s.position and w.attempt = s.attempt
       where t.task_id = s.task_id and s.state = 'enqueued') r on true
    left join lateral (
      select l.* from stepwell.step_attempts l
       where l.task_id = s.task_id and l.position = s.position and s.state not in ('complete', 'resolved')
       order by l.attempt desc limit 1) a on true;

-- One row a task, with the reason why it is not finished.
create view stepwell.task_status as
  select t.task_id, w.namespace, w.name, w.version, t.state::text as state, t.priority,
         t.created_at, t.finished_at, t.steps_remaining, c.steps_total, c.steps_in_progress,
         case
           when t.state in ('complete', 'cancelled', 'resolved') then null
           when t.state = 'pending' then 'waits for an orchestrator to check its context against the input schema'
           when t.state = 'error' then coalesce(t.error, c.failure)
           when c.steps_in_progress > 0 then pg_catalog.format('%s steps are being executed', c.steps_in_progress)
           when c.steps_enqueued + c.steps_ready > 0 and n.paused_at is not null
             then pg_catalog.format('the namespace %s has been paused since %s', w.namespace, n.paused_at)
           when c.steps_enqueued > 0 then pg_catalog.format('%s steps wait for a worker of %s', c.steps_enqueued, w.namespace)
           when c.steps_ready > 0
             then pg_catalog.format('%s steps wait for their turn in %s, see stepwell.queue_status()', c.steps_ready, w.namespace)
           when c.next_run_at is not null then pg_catalog.format('waits for a retry at %s', c.next_run_at)
           else 'waits for an orchestrator'
         end as waits_for
    from stepwell.tasks t
    join stepwell.workflows w using (workflow_id)
    left join stepwell.namespaces n using (namespace)
    cross join lateral (
      select count(*) as steps_total,
             count(*) filter (where s.state = 'in_progress') as steps_in_progress,
             count(*) filter (where s.state = 'enqueued') as steps_enqueued,
             count(*) filter (where s.state = 'ready') as steps_ready,
             min(s.run_at) filter (where s.state = 'waiting_for_retry') as next_run_at,
             string_agg(s.name || ': ' || s.error_message, '; ' order by s.position)
               filter (where s.state = 'error') as failure
        from stepwell.step_status s where s.task_id = t.task_id) c;

-- What there is to tell of those of these tasks that have ended, in the order in which they did; workflow: namespace/name, ms:
-- since they were submitted. Of one in error also the step that failed first, how many attempts it had, and why; without a
-- step the reason is the task's own. Called by: orchestrators, after each batch. Takes no locks.
create function stepwell.finished_tasks(p_task_ids uuid[])
returns table (task_id uuid, workflow text, state text, ms bigint, step text, attempts smallint, error_class text, error text)
language plpgsql stable as $$
begin
  return query
    select t.task_id, w.namespace || '/' || w.name, t.state::text,
           (extract(epoch from t.finished_at - t.created_at) * 1000)::bigint,
           f.name, f.attempt, f.error_class, pg_catalog.left(coalesce(t.error, f.message), 8192)
      from stepwell.tasks t join stepwell.workflows w using (workflow_id)
      left join lateral (
        select s.name, s.attempt, a.error_class, a.message
          from stepwell.steps s
          left join stepwell.step_attempts a
            on a.task_id = s.task_id and a.position = s.position and a.attempt = s.attempt
         where t.state = 'error' and s.task_id = t.task_id and s.state = 'error'
         order by s.finished_at, s.position limit 1) f on true
     where t.task_id = any (p_task_ids) and t.finished_at is not null
     order by t.finished_at;
end
$$;

-- How each queue is, for metrics: messages (at most p_most are counted), the age of the oldest, how many ever came (its
-- numbers, which only grow), rows that vacuum has still to remove. Of a namespace also the steps that wait for a place in
-- its queue (p_most again), and those that workers hold. namespace: null for requests and results.
-- Called by: orchestrators, now and then. Takes no locks.
create function stepwell.queue_metrics(p_most integer)
returns table (queue text, namespace text, messages bigint, oldest_age double precision, sent bigint, dead_rows bigint,
               waiting bigint, in_progress bigint)
language plpgsql stable set lock_timeout = '1 s' as $$ -- who waits for a lock has long been given up by its caller
declare
  v_queue record;
begin
  for v_queue in
    select m.name, m.namespace, coalesce(c.held, 0) as held,
           pg_catalog.format('pgmq.%I', pgmq.format_table_name(m.name, 'q')) as relation
      from (select n || '_queue' as name, n as namespace from stepwell.known_namespaces() n
            union all
            values ('step_results', null), ('task_requests', null)) m
      left join (select w.namespace, sum(cardinality(w.task_ids)) as held from stepwell.claims w
                  where w.expires_at > stepwell.now() group by w.namespace) c on c.namespace = m.namespace
     order by m.name
  loop
    return query execute pg_catalog.format(
      'select $1, $2, (select count(*) from (select from %1$s limit $3) q),
              (select greatest(extract(epoch from stepwell.now() - q.enqueued_at), 0)::double precision
                 from %1$s q order by q.msg_id limit 1),
              coalesce(pg_sequence_last_value(pg_get_serial_sequence(%1$L, ''msg_id'')::regclass), 0),
              pg_stat_get_dead_tuples(%1$L::regclass),
              (select count(*) from (select from stepwell.ready_steps r where r.namespace = $2 limit $3) r)
              + (select count(*) from (select from stepwell.keyed_steps k
                                        where k.namespace = $2 and not k.admitted limit $3) k), $4::bigint',
      v_queue.relation) using v_queue.name, v_queue.namespace, p_most, v_queue.held;
  end loop;
end
$$;

-- Those of these tasks that have a row or are among the dead letters, in no order, and whether they have ended.
-- Called by: clients that wait. Takes no locks.
create function stepwell.known_tasks(p_task_ids uuid[]) returns table (task_id uuid, ended boolean)
language plpgsql stable as $$
begin
  return query
  select t.task_id, t.state in ('complete', 'error', 'cancelled', 'resolved')
    from unnest(p_task_ids) as i (id) join stepwell.tasks t on t.task_id = i.id
   union all
  select i.id, true
    from unnest(p_task_ids) as i (id) join stepwell.dead_letters d on d.task_id = i.id
   where d.queue = 'task_requests';
end
$$;

-- Those of these that are no tasks at all: without a row, not in the queue, not among the dead letters. One snapshot, in which a
-- request that is being taken up is in one place or the other. Called by: clients that wait or look tasks up. Takes no locks.
create function stepwell.unknown_tasks(p_task_ids uuid[]) returns setof uuid
language plpgsql stable as $$
begin
  return query
  select i.id from unnest(p_task_ids) as i (id)
   where not exists (select from pgmq.q_task_requests q where q.message ->> 'task_id' = i.id::text) -- as submit_tasks writes it
     and not exists (select from stepwell.tasks t where t.task_id = i.id)
     and not exists (select from stepwell.dead_letters d where d.queue = 'task_requests' and d.task_id = i.id);
end
$$;

-- How the database is, for metrics: seconds that the oldest transaction has kept dead rows from being removed (of the
-- sessions that the schema's owner can see: with pg_read_all_stats all, else those of its own roles), dead letters (at
-- most p_most are counted). Called by: orchestrators, now and then. Takes no locks.
create function stepwell.database_metrics(p_most integer)
returns table (oldest_snapshot_age double precision, dead_letters bigint)
language sql stable set lock_timeout = '1 s' as $$
  select greatest(0, extract(epoch from clock_timestamp() - (
           select min(o.since)
             from (select a.xact_start as since from pg_catalog.pg_stat_activity a
                    where a.datname = current_database() and a.backend_type <> 'autovacuum worker'
                      and (a.backend_xmin is not null or a.backend_xid is not null)
                   union all
                   select p.prepared from pg_catalog.pg_prepared_xacts p where p.database = current_database()) o
         )))::double precision,
         (select count(*) from (select from stepwell.dead_letters d limit p_most) d)
$$;
