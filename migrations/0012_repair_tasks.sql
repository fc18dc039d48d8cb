-- What a person does to a task: cancel, retry, resolve. Each leaves a task_events row with who and why.

-- Stops a task: steps that have not finished never will; what a handler still reports is dropped by the fence.
-- Called by: clients. Locks: the task. Tasks: pending | in_progress | error -> cancelled. Returns the state it is in
-- now: a task that had finished before stays as it is. Raises SW004 for an unknown task.
create function stepwell.cancel_task(p_task_id uuid, p_reason text default null, p_actor text default null)
returns stepwell.task_state
language plpgsql as $$
declare
  v_state stepwell.task_state := stepwell.lock_task(p_task_id);
begin
  if v_state in ('complete', 'cancelled', 'resolved') then
    return v_state;
  end if;
  update stepwell.steps s set state = 'cancelled', run_at = null, finished_at = stepwell.now()
   where s.task_id = p_task_id and s.state not in ('complete', 'resolved', 'cancelled');
  update stepwell.tasks t set state = 'cancelled', finished_at = stepwell.now() where t.task_id = p_task_id;
  delete from stepwell.unvalidated_tasks u where u.task_id = p_task_id;
  perform stepwell.free_keys(array[p_task_id]), stepwell.withdraw_ready_steps(array[p_task_id]);
  insert into stepwell.task_events (task_id, kind, actor, reason, happened_at)
  values (p_task_id, 'cancel', coalesce(p_actor, session_user), p_reason, stepwell.now());
  return 'cancelled';
end
$$;

-- Gives failed steps of a task fresh attempts: those of these names, or all. The attempt number goes on counting,
-- because it is the fence. A task that was overdue gets the whole of its timeout again.
-- Called by: clients. Locks: the task. Tasks: error -> in_progress. Steps: error -> enqueued.
-- Returns the namespaces that got messages. Raises SW004 for an unknown task, SW005 when there is nothing to retry, or
-- one of the named steps has not failed.
create function stepwell.retry_task(
  p_task_id uuid, p_reason text default null, p_actor text default null, p_steps text[] default null
) returns text[]
language plpgsql as $$
declare
  v_state stepwell.task_state := stepwell.lock_task(p_task_id);
  v_other text;
  v_ready record;
begin
  select n.name into v_other from unnest(p_steps) as n (name)
   where not exists (select from stepwell.steps s where s.task_id = p_task_id and s.name = n.name and s.state = 'error');
  if v_other is not null then
    raise exception 'step % of task % has not failed', v_other, p_task_id using errcode = 'SW005';
  end if;
  with again as (
    update stepwell.steps s
       set state = 'enqueued', attempt = s.attempt + 1, max_attempts = s.attempt + ws.max_attempts,
           run_at = null, unhandled_since = null, finished_at = null
      from stepwell.tasks t join stepwell.workflow_steps ws using (workflow_id)
     where t.task_id = p_task_id and s.task_id = p_task_id and s.position = ws.position and s.state = 'error'
       and v_state in ('error', 'in_progress') and (p_steps is null or s.name = any (p_steps))
    returning s.task_id, s.position, s.attempt, t.workflow_id
  )
  select array_agg(w.namespace) as namespaces, array_agg(a.task_id) as task_ids,
         array_agg(a.position) as positions, array_agg(a.attempt) as attempts
    into v_ready from again a join stepwell.workflows w using (workflow_id);
  if v_ready.task_ids is null then
    raise exception 'task % is % and has no failed step to retry', p_task_id, v_state using errcode = 'SW005',
      hint = 'A task whose request was rejected never had steps: submit it again with a good request.';
  end if;
  perform stepwell.reopen_task(p_task_id, cardinality(v_ready.task_ids));
  insert into stepwell.task_events (task_id, kind, actor, reason, details, happened_at)
  values (p_task_id, 'retry', coalesce(p_actor, session_user), p_reason,
          case when p_steps is not null then jsonb_build_object('steps', p_steps) end, stepwell.now());
  return stepwell.enqueue_steps(v_ready.namespaces, v_ready.task_ids, v_ready.positions, v_ready.attempts);
end
$$;

-- Puts a task in progress again, with p_steps fewer failed steps, and the whole of its timeout from now when it was
-- overdue. Called by: retry_task, resolve_step, under the task's lock.
create function stepwell.reopen_task(p_task_id uuid, p_steps integer) returns void
language plpgsql as $$
begin
  with reopened as (
    update stepwell.tasks t
       set state = 'in_progress', steps_failed = t.steps_failed - p_steps, finished_at = null, error = null,
           deadline = case when t.deadline <= stepwell.now() then stepwell.now() + w.timeout else t.deadline end
      from stepwell.workflows w
     where t.task_id = p_task_id and w.workflow_id = t.workflow_id
    returning t.task_id, t.deadline
  )
  insert into stepwell.task_deadlines (due_at, task_id)
  select r.deadline, r.task_id from reopened r where r.deadline is not null
  on conflict do nothing;
end
$$;

-- Gives a step a result by hand, so that its dependents go on; what a handler still reports is dropped by the fence.
-- Called by: clients. Locks: the task. Steps: enqueued | waiting_for_retry | error -> resolved; dependents pending ->
-- enqueued. Tasks: error | in_progress -> in_progress, resolved (when that was the last open step) or error (when
-- others failed). Returns the namespaces that got messages and the task's state. Raises SW004 for an unknown task,
-- SW005 when it has ended otherwise or has no such step, or the step has ended, or still waits for its dependencies.
create function stepwell.resolve_step(
  p_task_id uuid, p_step text, p_result jsonb, p_reason text default null, p_actor text default null,
  out namespaces text[], out state stepwell.task_state)
language plpgsql as $$
declare
  v_state stepwell.task_state := stepwell.lock_task(p_task_id);
  v_step  stepwell.steps;
begin
  select s.* into v_step from stepwell.steps s where s.task_id = p_task_id and s.name = p_step;
  if v_step.task_id is null then
    raise exception 'task % has no step %', p_task_id, p_step using errcode = 'SW005';
  elsif v_state not in ('in_progress', 'error') then
    raise exception 'task % is %: its steps cannot be resolved any more', p_task_id, v_state using errcode = 'SW005';
  elsif v_step.state not in ('enqueued', 'waiting_for_retry', 'error') then
    raise exception 'step % of task % is %', p_step, p_task_id, v_step.state using errcode = 'SW005',
      hint = 'A pending step waits for the steps that it depends on: resolve those first.';
  end if;

  -- As if this attempt had reported the result: its way is the one that every result goes.
  perform stepwell.reopen_task(p_task_id, case when v_step.state = 'error' then 1 else 0 end);
  update stepwell.steps s set state = 'enqueued', run_at = null, unhandled_since = null
   where s.task_id = p_task_id and s.position = v_step.position;
  select a.namespaces into namespaces
    from stepwell.apply_messages(array[jsonb_build_object('task_id', p_task_id, 'step', v_step.position,
           'attempt', v_step.attempt, 'outcome', 'complete', 'result', coalesce(p_result, 'null'))],
           array[stepwell.now()], array[null]) a;
  update stepwell.steps s set state = 'resolved', started_at = v_step.started_at, worker_id = v_step.worker_id
   where s.task_id = p_task_id and s.position = v_step.position;
  update stepwell.tasks t set state = 'resolved' where t.task_id = p_task_id and t.state = 'complete';
  select t.state into state from stepwell.tasks t where t.task_id = p_task_id;
  insert into stepwell.task_events (task_id, kind, actor, reason, details, happened_at)
  values (p_task_id, 'resolve', coalesce(p_actor, session_user), p_reason, jsonb_build_object('step', p_step),
          stepwell.now());
end
$$;

-- Locks a task and returns its state; initializes it first when its request still waits in the queue.
-- Called by: cancel_task, retry_task, resolve_step. Raises SW004 when there is no such task.
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
