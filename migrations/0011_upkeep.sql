-- Upkeep: what comes due by time. Cheap when nothing is: only reads.

-- Enqueues the next attempt of steps whose retry is due. Called by: the upkeep loop.
-- Locks: timers (SKIP LOCKED), then tasks by id. Steps: waiting_for_retry -> enqueued, attempt + 1.
create function stepwell.wake_due_steps(p_batch integer)
returns table (popped integer, woken integer, namespaces text[])
language plpgsql as $$
declare
  v_now   timestamptz := stepwell.now();
  v_tasks uuid[];
  v_steps smallint[];
  v_ready record;
begin
  with due as (
    delete from stepwell.step_timers d
     using (select t.due_at, t.task_id, t.position from stepwell.step_timers t
             where t.due_at <= v_now order by t.due_at limit p_batch for update skip locked) t
     where d.due_at = t.due_at and d.task_id = t.task_id and d.position = t.position
    returning d.task_id, d.position
  )
  select array_agg(d.task_id), array_agg(d.position) into v_tasks, v_steps from due d;
  if v_tasks is null then
    return query select 0, 0, '{}'::text[];
    return;
  end if;

  perform from stepwell.tasks t where t.task_id = any (v_tasks) order by t.task_id for update;
  with woken as (
    update stepwell.steps s set state = 'enqueued', attempt = s.attempt + 1, run_at = null
      from (select distinct d.task_id, d.position from unnest(v_tasks, v_steps) as d (task_id, position)) d
     where s.task_id = d.task_id and s.position = d.position and s.state = 'waiting_for_retry' and s.run_at <= v_now
    returning s.task_id, s.position, s.attempt
  )
  select array_agg(w.namespace) as namespaces, array_agg(k.task_id) as task_ids,
         array_agg(k.position) as positions, array_agg(k.attempt) as attempts
    into v_ready
    from woken k join stepwell.tasks t using (task_id) join stepwell.workflows w using (workflow_id);
  return query
    select cardinality(v_tasks), coalesce(cardinality(v_ready.task_ids), 0),
           case when v_ready.task_ids is null then '{}'::text[] else stepwell.enqueue_steps(
             v_ready.namespaces, v_ready.task_ids, v_ready.positions, v_ready.attempts) end;
end
$$;

-- Recovers expired claims: their steps go back to the queue with the attempt counted, or end in error when it was the
-- last, so a step that kills its workers does not loop forever. A step that is lost for the second time running waits a
-- random share of its backoff first: one of those that were lost together may be what kills the workers, and the others
-- must not stand beside it in a claim each time.
-- Called by: the upkeep loop. p_batch: claims.
-- Locks: claims (SKIP LOCKED), then tasks by id. Steps: enqueued -> enqueued (attempt + 1) | waiting_for_retry | error.
create function stepwell.recover_claims(p_batch integer)
returns table (popped integer, recovered integer, failed integer, namespaces text[], finished uuid[])
language plpgsql as $$
declare
  v_now    timestamptz := stepwell.now();
  v_claims bigint[];
  v_lost   record;
  v_moved  record;
begin
  select array_agg(e.claim_id) into v_claims
    from (select c.claim_id from stepwell.claims c where c.expires_at <= v_now
           order by c.claim_id limit p_batch for update skip locked) e;
  if v_claims is null then
    return query select 0, 0, 0, '{}'::text[], '{}'::uuid[];
    return;
  end if;

  with expired as (
    delete from stepwell.claims c where c.claim_id = any (v_claims) returning c.*
  )
  select array_agg(u.task_id) as task_ids, array_agg(u.position) as positions, array_agg(u.attempt) as attempts,
         array_agg(e.worker_id) as workers, array_agg(e.claimed_at) as times
    into v_lost
    from expired e cross join unnest(e.task_ids, e.positions, e.attempts) as u (task_id, position, attempt);
  perform from stepwell.tasks t where t.task_id = any (v_lost.task_ids) order by t.task_id for update;

  with lost as materialized (
    select distinct on (s.task_id, s.position)
           s.task_id, s.position, s.attempt, l.worker_id, l.claimed_at, s.attempt < s.max_attempts as again,
           case when s.attempt < s.max_attempts and p.attempt is not null
                then v_now + stepwell.retry_delay(s.attempt, ws.backoff_base, ws.backoff_cap, 1, null) end as run_at
      from unnest(v_lost.task_ids, v_lost.positions, v_lost.attempts, v_lost.workers, v_lost.times)
           as l (task_id, position, attempt, worker_id, claimed_at)
      join stepwell.steps s on s.task_id = l.task_id and s.position = l.position
       and s.attempt = l.attempt and s.state = 'enqueued'
      join stepwell.tasks t on t.task_id = s.task_id
      join stepwell.workflow_steps ws on ws.workflow_id = t.workflow_id and ws.position = s.position
      left join stepwell.step_attempts p on p.task_id = s.task_id and p.position = s.position
       and p.attempt = s.attempt - 1 and p.kind = 'lost_lease'
  ), recorded as (
    insert into stepwell.step_attempts
           (task_id, position, attempt, kind, error_class, code, message, worker_id, started_at, finished_at)
    select l.task_id, l.position, l.attempt, 'lost_lease', 'Stepwell::LostLease', 'LOST_LEASE',
           'the worker stopped sending heartbeats: it was killed, hung, or cut off', l.worker_id, l.claimed_at, v_now
      from lost l
  ), timed as (
    insert into stepwell.step_timers (due_at, task_id, position)
    select l.run_at, l.task_id, l.position from lost l where l.run_at is not null
  ), moved as (
    update stepwell.steps s
       set state = case when l.run_at is not null then 'waiting_for_retry'
                        when l.again then 'enqueued' else 'error' end::stepwell.step_state,
           attempt = case when l.again and l.run_at is null then s.attempt + 1 else s.attempt end, run_at = l.run_at,
           worker_id = l.worker_id, unhandled_since = null, finished_at = case when not l.again then v_now end
      from lost l
     where s.task_id = l.task_id and s.position = l.position
    returning s.task_id, s.position, s.attempt, s.state
  )
  select array_agg(w.namespace) filter (where m.state = 'enqueued') as namespaces,
         array_agg(m.task_id) filter (where m.state = 'enqueued') as task_ids,
         array_agg(m.position) filter (where m.state = 'enqueued') as positions,
         array_agg(m.attempt) filter (where m.state = 'enqueued') as attempts,
         array_agg(m.task_id) filter (where m.state = 'error') as failed,
         count(*) filter (where m.state <> 'error') as recovered
    into v_moved
    from moved m join stepwell.tasks t using (task_id) join stepwell.workflows w using (workflow_id);

  perform stepwell.free_keys(v_lost.task_ids);
  return query
    select cardinality(v_claims), v_moved.recovered::integer, coalesce(cardinality(v_moved.failed), 0),
           case when v_moved.task_ids is null then '{}'::text[] else stepwell.enqueue_steps(
             v_moved.namespaces, v_moved.task_ids, v_moved.positions, v_moved.attempts) end,
           stepwell.fail_tasks(v_moved.failed);
end
$$;

-- Ends tasks whose deadline has passed: what could still move in them is in error, so that the task is; what a handler
-- still reports is dropped by the fence. Called by: the upkeep loop. p_batch: deadlines.
-- Locks: deadlines (SKIP LOCKED), then tasks by id. Tasks: pending | in_progress -> error.
-- Steps: enqueued | waiting_for_retry -> error.
create function stepwell.fail_overdue_tasks(p_batch integer) returns table (popped integer, failed integer, finished uuid[])
language plpgsql as $$
declare
  v_now     timestamptz := stepwell.now();
  v_due     uuid[];
  v_overdue uuid[];
  v_failed  integer;
begin
  with due as (
    delete from stepwell.task_deadlines d
     using (select k.due_at, k.task_id from stepwell.task_deadlines k
             where k.due_at <= v_now order by k.due_at limit p_batch for update skip locked) k
     where d.due_at = k.due_at and d.task_id = k.task_id
    returning d.task_id
  )
  select array_agg(d.task_id) into v_due from due d;
  if v_due is null then
    return query select 0, 0, '{}'::uuid[];
    return;
  end if;

  perform from stepwell.tasks t where t.task_id = any (v_due) order by t.task_id for update;
  -- One that was retried has a later deadline now, with a row of its own.
  select coalesce(array_agg(t.task_id), '{}') into v_overdue from stepwell.tasks t
   where t.task_id = any (v_due) and t.state in ('pending', 'in_progress') and t.deadline <= v_now;
  with ended as (
    update stepwell.steps s set state = 'error', run_at = null, finished_at = v_now, unhandled_since = null
     where s.task_id = any (v_overdue) and s.state in ('enqueued', 'waiting_for_retry')
    returning s.task_id, s.position, s.attempt
  ), recorded as ( -- a step that waited for its retry has a row for its attempt
    insert into stepwell.step_attempts (task_id, position, attempt, kind, error_class, code, message, finished_at)
    select e.task_id, e.position, e.attempt, 'timeout', 'Stepwell::DeadlineExceeded', 'DEADLINE_EXCEEDED',
           'the task was overdue before the step was done', v_now
      from ended e where e.attempt > 0
    on conflict do nothing
  ), counted as (
    select e.task_id, count(*) as failed from ended e group by e.task_id
  ), failed_tasks as (
    update stepwell.tasks t
       set state = 'error', finished_at = v_now, steps_failed = t.steps_failed + coalesce(c.failed, 0),
           error = pg_catalog.format('the task was not finished by its deadline, %s', t.deadline)
      from unnest(v_overdue) as o (task_id) left join counted c using (task_id)
     where t.task_id = o.task_id
  ), noted as (
    insert into stepwell.task_events (task_id, kind, actor, reason, happened_at)
    select o.task_id, 'deadline', 'stepwell', 'the deadline passed', v_now from unnest(v_overdue) as o (task_id)
  )
  select coalesce(sum(c.failed), 0) into v_failed from counted c;
  delete from stepwell.unvalidated_tasks u where u.task_id = any (v_overdue);
  perform stepwell.free_keys(v_overdue), stepwell.withdraw_ready_steps(v_overdue);
  return query select cardinality(v_due), v_failed, v_overdue;
end
$$;
