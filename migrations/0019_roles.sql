-- Roles that may do their part of the work and nothing else. See docs/operations/databases.md.
--
-- The functions that a process calls run with the rights of the schema's owner (security definer), with a search path
-- that nobody can put anything into, and PUBLIC may call none. So a role needs no right on any queue, and a worker none
-- on any table: it can do what a function does, under the locks and fences of that function. See
-- docs/decisions/0006-definer-functions.md.

-- Requests that no orchestrator has taken up yet: for looking a task up by its id. Rights on pgmq are not needed.
create view stepwell.queued_requests as
  select q.message, q.enqueued_at from pgmq.q_task_requests q;

-- Whether a message stands in a queue, at a fraction of what a hop costs: what an idle loop asks now and then.
-- By the index, which skips what is deleted. Called by: orchestrators, workers. Takes no locks. Raises SW003 for no queue of ours.
create function stepwell.queue_has_messages(p_queue text) returns boolean
language plpgsql as $$
declare
  v_found boolean;
begin
  perform stepwell.require_queue(p_queue);
  execute format('select (select q.msg_id from pgmq.%I q order by q.msg_id limit 1) is not null',
                 pgmq.format_table_name(p_queue, 'q')) into v_found;
  return v_found;
end
$$;

-- The functions that a kind of role calls. client: submits, looks, cancels, repairs its tasks. operator: also pauses
-- namespaces and replays dead letters. worker: claims, reports. orchestrator: the hops. anybody: what views and look-ups
-- call; it reads no table, so it runs with the caller's own rights. Called by: grant_role, close_functions.
create function stepwell.functions_of(p_kind text) returns setof name
language sql immutable as $$
  select f.name::name
    from (values
      ('now', '{anybody}'::text[]),
      ('uuid_v7', '{anybody}'),
      ('as_uuid', '{anybody}'),
      ('priority_level', '{anybody}'),
      ('dispatch_at', '{anybody}'),
      ('register_workflow', '{client,operator,worker,orchestrator}'),
      ('submit_tasks', '{client,operator}'),
      ('cancel_task', '{client,operator}'),
      ('retry_task', '{client,operator}'),
      ('resolve_step', '{client,operator}'),
      ('known_tasks', '{client,operator,orchestrator}'),
      ('unknown_tasks', '{client,operator,orchestrator}'),
      ('queue_status', '{client,operator,orchestrator}'),
      ('queue_metrics', '{operator,orchestrator}'),
      ('database_metrics', '{operator,orchestrator}'),
      ('pause_namespace', '{operator}'),
      ('resume_namespace', '{operator}'),
      ('limit_namespace', '{operator}'),
      ('replay_dead_letters', '{operator}'),
      ('check_invariants', '{operator}'),
      ('create_queue', '{worker}'),
      ('claim_steps', '{worker}'),
      ('report_results', '{worker}'),
      ('report_progress', '{worker}'),
      ('heartbeat', '{worker}'),
      ('release_steps', '{worker}'),
      ('release_unknown_claims', '{worker}'),
      ('release_unhandled', '{worker}'),
      ('queue_has_messages', '{worker,orchestrator}'),
      ('describe_steps', '{worker,orchestrator}'),
      ('bury_message', '{worker,orchestrator}'),
      ('initialize_tasks', '{orchestrator}'),
      ('begin_task', '{orchestrator}'),
      ('take_unvalidated_tasks', '{orchestrator}'),
      ('admit_tasks', '{orchestrator}'),
      ('apply_results', '{orchestrator}'),
      ('settle_results', '{orchestrator}'),
      ('configure_dispatch', '{orchestrator}'),
      ('dispatch_steps', '{orchestrator}'),
      ('wake_due_steps', '{orchestrator}'),
      ('recover_claims', '{orchestrator}'),
      ('fail_overdue_tasks', '{orchestrator}'),
      ('finished_tasks', '{orchestrator}'),
      ('remove_finished_tasks', '{orchestrator}'),
      ('remove_dead_letters', '{orchestrator}'),
      ('remove_events', '{orchestrator}')
    ) as f (name, kinds)
   where p_kind = any (f.kinds)
$$;

-- Gives a role what its kind of process needs: client, operator, worker or orchestrator. A role can be given several;
-- giving one again changes nothing. What was given is taken back by: drop owned by ROLE.
-- Called by: the schema's owner, once a role, and again after an upgrade. Raises SW007 for no kind.
create function stepwell.grant_role(p_role regrole, p_kind text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_function regprocedure;
begin
  if p_kind is null or p_kind not in ('client', 'operator', 'worker', 'orchestrator') then
    raise exception 'there is no kind of role %', coalesce(p_kind, 'null') using errcode = 'SW007',
      hint = 'The kinds are client, operator, worker and orchestrator.';
  end if;
  execute format('grant usage on schema stepwell to %s', p_role);
  for v_function in
    select p.oid::regprocedure from pg_proc p
     where p.pronamespace = 'stepwell'::regnamespace
       and (p.proname in (select stepwell.functions_of(p_kind)) or p.proname in (select stepwell.functions_of('anybody')))
  loop
    execute format('grant execute on function %s to %s', v_function, p_role);
  end loop;
  if p_kind <> 'worker' then
    execute format('grant select on all tables in schema stepwell to %s', p_role);
  elsif to_regclass('stepwell._sqlx_migrations') is not null then
    execute format('grant select on stepwell._sqlx_migrations to %s', p_role); -- which version this is
  end if;
end
$$;

-- Every function is given to nobody, and those that processes call run as the owner.
-- Called by: this migration, and each later one that makes or replaces functions (replacing one opens it again).
create function stepwell.close_functions() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_function regprocedure;
begin
  revoke execute on all functions in schema stepwell from public;
  for v_function in
    select p.oid::regprocedure from pg_proc p
     where p.pronamespace = 'stepwell'::regnamespace
       and p.proname in (select stepwell.functions_of(k.kind)
                           from unnest(array['client', 'operator', 'worker', 'orchestrator']) as k (kind))
  loop
    execute format('alter function %s security definer set search_path = pg_catalog, pg_temp', v_function);
  end loop;
end
$$;

select stepwell.close_functions();
