-- What a person does to a task: cancel, retry. Each leaves a task_events row with who and why.

-- Stops a task: steps that have not finished never will; what a handler still reports is dropped by the fence.
-- Called by: clients. Locks: the task. Tasks: pending | in_progress | error -> cancelled. Returns the state it is in
-- now: a task that had finished before stays as it is. Raises SW004 for an unknown task.
create function stepwell.cancel_task(p_task_id uuid, p_reason text default null, p_actor text default null)
returns stepwell.task_state
language plpgsql as $$
declare
  v_state   stepwell.task_state := stepwell.lock_task(p_task_id);
begin
  if v_state in ('complete', 'cancelled', 'resolved') then
    return v_state;
  end if;
  update stepwell.steps s set state = 'cancelled', run_at = null, finished_at = stepwell.now()
   where s.task_id = p_task_id and s.state not in ('complete', 'resolved', 'cancelled');
  update stepwell.tasks t set state = 'cancelled', finished_at = stepwell.now() where t.task_id = p_task_id;
  delete from stepwell.unvalidated_tasks u where u.task_id = p_task_id;
  insert into stepwell.task_events (task_id, kind, actor, reason, happened_at)
  values (p_task_id, 'cancel', coalesce(p_actor, session_user), p_reason, stepwell.now());
  return 'cancelled';
end
$$;

-- Gives the failed steps of a task fresh attempts. The attempt number goes on counting, because it is the fence.
-- Called by: clients. Locks: the task. Tasks: error -> in_progress. Steps: error -> enqueued.
-- Returns the namespaces that got messages. Raises SW004 for an unknown task, SW005 when there is nothing to retry.
create function stepwell.retry_task(p_task_id uuid, p_reason text default null, p_actor text default null)
returns text[]
language plpgsql as $$
declare
  v_state stepwell.task_state := stepwell.lock_task(p_task_id);
  v_ready record;
begin
  with again as (
    update stepwell.steps s
       set state = 'enqueued', attempt = s.attempt + 1, max_attempts = s.attempt + ws.max_attempts,
           run_at = null, unhandled_since = null, finished_at = null
      from stepwell.tasks t join stepwell.workflow_steps ws using (workflow_id)
     where t.task_id = p_task_id and s.task_id = p_task_id and s.position = ws.position and s.state = 'error'
       and v_state in ('error', 'in_progress')
    returning s.task_id, s.position, s.attempt, t.workflow_id
  )
  select array_agg(w.namespace) as namespaces, array_agg(a.task_id) as task_ids,
         array_agg(a.position) as positions, array_agg(a.attempt) as attempts
    into v_ready from again a join stepwell.workflows w using (workflow_id);
  if v_ready.task_ids is null then
    raise exception 'task % is % and has no failed step to retry', p_task_id, v_state using errcode = 'SW005',
      hint = 'A task whose request was rejected never had steps: submit it again with a good request.';
  end if;
  update stepwell.tasks t set state = 'in_progress', steps_failed = 0, finished_at = null where t.task_id = p_task_id;
  insert into stepwell.task_events (task_id, kind, actor, reason, happened_at)
  values (p_task_id, 'retry', coalesce(p_actor, session_user), p_reason, stepwell.now());
  return stepwell.enqueue_steps(v_ready.namespaces, v_ready.task_ids, v_ready.positions, v_ready.attempts);
end
$$;

-- Locks a task and returns its state; initializes it first when its request still waits in the queue.
-- Called by: cancel_task, retry_task. Raises SW004 when there is no such task.
create function stepwell.lock_task(p_task_id uuid) returns stepwell.task_state
language plpgsql as $$
declare
  v_state    stepwell.task_state;
  v_messages jsonb[];
  v_times    timestamptz[];
begin
  select t.state into v_state from stepwell.tasks t where t.task_id = p_task_id for update;
  if v_state is null then
    with taken as (
      delete from pgmq.q_task_requests q where q.message ->> 'task_id' = p_task_id::text returning q.message, q.enqueued_at
    )
    select array_agg(k.message), array_agg(k.enqueued_at) into v_messages, v_times from taken k;
    if v_messages is not null then
      perform from stepwell.initialize_requests(v_messages, v_times);
    end if;
    select t.state into v_state from stepwell.tasks t where t.task_id = p_task_id for update;
  end if;
  if v_state is null then
    raise exception 'there is no task %', p_task_id using errcode = 'SW004';
  end if;
  return v_state;
end
$$;

-- A worker has no handler for steps that it claimed: they go back for another worker to take after p_delay seconds,
-- the attempt not counted, unless nobody has had the handler for p_give_up: then they end in error that names it.
-- Called by: workers. Arrays run in parallel. Locks: claims by id, tasks by id. Returns the tasks that ended in error.
create function stepwell.release_unhandled(
  p_worker_id text, p_claims bigint[], p_task_ids uuid[], p_positions smallint[], p_delay integer, p_give_up interval
) returns uuid[]
language plpgsql as $$
declare
  v_given_up record;
begin
  perform from stepwell.claims c where c.claim_id = any (p_claims) and c.worker_id = p_worker_id
    order by c.claim_id for update;
  perform from stepwell.tasks t where t.task_id = any (p_task_ids) order by t.task_id for update;
  update stepwell.steps s set unhandled_since = stepwell.now()
    from unnest(p_task_ids, p_positions) as u (task_id, position)
   where s.task_id = u.task_id and s.position = u.position and s.state = 'enqueued' and s.unhandled_since is null;

  with given_up as (
    update stepwell.steps s set state = 'error', worker_id = p_worker_id, finished_at = stepwell.now()
      from unnest(p_claims, p_task_ids, p_positions) as u (claim_id, task_id, position)
      join stepwell.claims c on c.claim_id = u.claim_id and c.worker_id = p_worker_id
      cross join unnest(c.task_ids, c.positions, c.attempts) as h (task_id, position, attempt)
     where h.task_id = u.task_id and h.position = u.position
       and s.task_id = u.task_id and s.position = u.position and s.attempt = h.attempt and s.state = 'enqueued'
       and s.unhandled_since <= stepwell.now() - p_give_up
    returning c.claim_id, s.task_id, s.position, s.attempt, s.name
  ), recorded as (
    insert into stepwell.step_attempts (task_id, position, attempt, kind, error_class, code, message, worker_id, finished_at)
    select g.task_id, g.position, g.attempt, 'permanent', 'Stepwell::UnknownHandler', 'UNKNOWN_HANDLER',
           pg_catalog.format('no worker has the handler %s of step %s', ws.handler, g.name), p_worker_id, stepwell.now()
      from given_up g join stepwell.tasks t using (task_id)
      join stepwell.workflow_steps ws on ws.workflow_id = t.workflow_id and ws.position = g.position
  )
  select array_agg(g.claim_id) as claims, array_agg(g.task_id) as task_ids, array_agg(g.position) as positions
    into v_given_up from given_up g;

  if v_given_up.claims is not null then
    perform stepwell.shrink_claims(v_given_up.claims, v_given_up.task_ids, v_given_up.positions);
  end if;
  perform stepwell.release_steps(p_worker_id, p_claims, p_task_ids, p_positions, p_delay);
  return stepwell.fail_tasks(v_given_up.task_ids);
end
$$;
