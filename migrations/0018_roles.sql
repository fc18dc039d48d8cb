-- Roles that may do their part of the work and nothing else. See docs/operations/roles.md.
--
-- The functions that a process calls run with the rights of the schema's owner (security definer), with a search path
-- that nobody can put anything into, and PUBLIC may call none. So a role needs no right on any queue, and a worker none
-- on any table: it can do what a function does, under the locks and fences of that function. See
-- docs/decisions/0006-definer-functions.md.

-- Requests that no orchestrator has taken up yet: for looking a task up by its id. Rights on pgmq are not needed.
create view stepwell.queued_requests as
  select q.message, q.enqueued_at from pgmq.q_task_requests q;

-- Whether a message stands in a queue, at a fraction of what a hop costs: what an idle loop asks now and then.
-- By the index, which skips what is deleted. Called by: orchestrators, workers. Takes no locks.
create function stepwell.queue_has_messages(p_queue text) returns boolean
language plpgsql as $$
declare
  v_found boolean;
begin
  execute pg_catalog.format('select (select q.msg_id from pgmq.%I q order by q.msg_id limit 1) is not null',
                            pgmq.format_table_name(p_queue, 'q')) into v_found;
  return v_found;
end
$$;

-- The functions that a kind of role calls; null for no kind. client: submits, looks, cancels, repairs its tasks.
-- operator: also pauses namespaces and replays dead letters. worker: claims, reports. orchestrator: the hops.
create function stepwell.functions_of(p_kind text) returns text[]
language sql immutable as $$
  select case p_kind
    when 'client' then array['register_workflow', 'submit_tasks', 'cancel_task', 'retry_task', 'resolve_step']
    when 'operator' then array['register_workflow', 'submit_tasks', 'cancel_task', 'retry_task', 'resolve_step',
      'pause_namespace', 'resume_namespace', 'replay_dead_letters', 'check_invariants']
    when 'worker' then array['register_workflow', 'create_queue', 'queue_has_messages', 'claim_steps',
      'report_results', 'report_progress', 'heartbeat', 'release_steps', 'release_unhandled', 'bury_message']
    when 'orchestrator' then array['register_workflow', 'queue_has_messages', 'initialize_tasks',
      'take_unvalidated_tasks', 'admit_tasks', 'apply_results', 'wake_due_steps', 'recover_claims',
      'fail_overdue_tasks', 'bury_message', 'remove_finished_tasks', 'remove_dead_letters']
    -- What views and look-ups call. They read no table, so they run with the caller's own rights.
    when 'anybody' then array['now', 'uuid_v7', 'as_uuid', 'priority_level']
  end
$$;

-- Gives a role what its kind of process needs: client, operator, worker or orchestrator. A role can be given several;
-- giving one again changes nothing. What was given is taken back by: drop owned by ROLE.
-- Called by: the schema's owner, once a role, and again after an upgrade. Raises SW007 for no kind.
create function stepwell.grant_role(p_role regrole, p_kind text) returns void
language plpgsql as $$
declare
  v_function regprocedure;
begin
  if p_kind is null or p_kind not in ('client', 'operator', 'worker', 'orchestrator') then
    raise exception 'there is no kind of role %', coalesce(p_kind, 'null') using errcode = 'SW007',
      hint = 'The kinds are client, operator, worker and orchestrator.';
  end if;
  execute pg_catalog.format('grant usage on schema stepwell to %s', p_role);
  for v_function in
    select p.oid::regprocedure from pg_catalog.pg_proc p
     where p.pronamespace = 'stepwell'::regnamespace
       and p.proname = any (stepwell.functions_of(p_kind) || stepwell.functions_of('anybody'))
  loop
    execute pg_catalog.format('grant execute on function %s to %s', v_function, p_role);
  end loop;
  if p_kind <> 'worker' then
    execute pg_catalog.format('grant select on all tables in schema stepwell to %s', p_role);
  elsif to_regclass('stepwell._sqlx_migrations') is not null then
    execute pg_catalog.format('grant select on stepwell._sqlx_migrations to %s', p_role); -- which version this is
  end if;
end
$$;

-- Every function is given to nobody, and those that processes call run as the owner.
-- Called by: this migration, and each later one that makes functions.
create function stepwell.close_functions() returns void
language plpgsql as $$
declare
  v_function regprocedure;
begin
  revoke execute on all functions in schema stepwell from public;
  for v_function in
    select p.oid::regprocedure from pg_catalog.pg_proc p
     where p.pronamespace = 'stepwell'::regnamespace
       and p.proname in (select unnest(stepwell.functions_of(k.kind))
                           from unnest(array['operator', 'worker', 'orchestrator']) as k (kind))
  loop
    execute pg_catalog.format('alter function %s security definer set search_path = pg_catalog, pg_temp', v_function);
  end loop;
end
$$;

select stepwell.close_functions();
