-- What becomes of steps that a worker lacks the handler of, as in a rolling deploy.

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
    from unnest(p_claims, p_task_ids, p_positions) as u (claim_id, task_id, position)
    join stepwell.claims c on c.claim_id = u.claim_id and c.worker_id = p_worker_id
    cross join unnest(c.task_ids, c.positions, c.attempts) as h (task_id, position, attempt)
   where h.task_id = u.task_id and h.position = u.position -- a claim that is gone says nothing of the attempt after it
     and s.task_id = u.task_id and s.position = u.position and s.attempt = h.attempt and s.state = 'enqueued'
     and s.unhandled_since is null;

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
           case when ws.handler is null then pg_catalog.format('the definition of step %s has been deleted', g.name)
                else pg_catalog.format('no worker has the handler %s of step %s', ws.handler, g.name) end, p_worker_id, stepwell.now()
      from given_up g join stepwell.tasks t using (task_id)
      left join stepwell.workflow_steps ws on ws.workflow_id = t.workflow_id and ws.position = g.position
  )
  select array_agg(g.claim_id) as claims, array_agg(g.task_id) as task_ids, array_agg(g.position) as positions
    into v_given_up from given_up g;

  if v_given_up.claims is not null then
    perform stepwell.shrink_claims(v_given_up.claims, v_given_up.task_ids, v_given_up.positions);
  end if;
  perform stepwell.free_keys(v_given_up.task_ids);
  perform stepwell.release_steps(p_worker_id, p_claims, p_task_ids, p_positions, p_delay);
  return stepwell.fail_tasks(v_given_up.task_ids);
end
$$;
