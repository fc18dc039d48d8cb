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
-- last, so a step that kills its workers does not loop forever. Called by: the upkeep loop. p_batch: claims.
-- Locks: claims (SKIP LOCKED), then tasks by id. Steps: enqueued -> enqueued (attempt + 1) | error.
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
           s.task_id, s.position, s.attempt, l.worker_id, l.claimed_at, s.attempt < s.max_attempts as again
      from unnest(v_lost.task_ids, v_lost.positions, v_lost.attempts, v_lost.workers, v_lost.times)
           as l (task_id, position, attempt, worker_id, claimed_at)
      join stepwell.steps s on s.task_id = l.task_id and s.position = l.position
       and s.attempt = l.attempt and s.state = 'enqueued'
  ), recorded as (
    insert into stepwell.step_attempts
           (task_id, position, attempt, kind, error_class, code, message, worker_id, started_at, finished_at)
    select l.task_id, l.position, l.attempt, 'lost_lease', 'Stepwell::LostLease', 'LOST_LEASE',
           'the worker stopped sending heartbeats: it was killed, hung, or cut off', l.worker_id, l.claimed_at, v_now
      from lost l
  ), moved as (
    update stepwell.steps s
       set state = case when l.again then 'enqueued' else 'error' end::stepwell.step_state,
           attempt = case when l.again then s.attempt + 1 else s.attempt end,
           worker_id = l.worker_id, unhandled_since = null, finished_at = case when not l.again then v_now end
      from lost l
     where s.task_id = l.task_id and s.position = l.position
    returning s.task_id, s.position, s.attempt, s.state
  )
  select array_agg(w.namespace) filter (where m.state = 'enqueued') as namespaces,
         array_agg(m.task_id) filter (where m.state = 'enqueued') as task_ids,
         array_agg(m.position) filter (where m.state = 'enqueued') as positions,
         array_agg(m.attempt) filter (where m.state = 'enqueued') as attempts,
         array_agg(m.task_id) filter (where m.state = 'error') as failed
    into v_moved
    from moved m join stepwell.tasks t using (task_id) join stepwell.workflows w using (workflow_id);

  return query
    select cardinality(v_claims), coalesce(cardinality(v_moved.task_ids), 0), coalesce(cardinality(v_moved.failed), 0),
           case when v_moved.task_ids is null then '{}'::text[] else stepwell.enqueue_steps(
             v_moved.namespaces, v_moved.task_ids, v_moved.positions, v_moved.attempts) end,
           stepwell.fail_tasks(v_moved.failed);
end
$$;
