-- What a person does to queues and namespaces: pause, resume, replay dead letters. Each leaves a task_events row with who
-- and why. And retention: what is old enough is removed, a little at a time.

-- Pauses a namespace: none of its steps is claimed until it is resumed. What runs goes on, and what becomes ready waits
-- in the queue. Called by: clients. Locks: the namespace's row. Returns whether it was not paused already.
-- Raises SW006 when there is no such namespace.
create function stepwell.pause_namespace(p_namespace text, p_reason text default null, p_actor text default null)
returns boolean
language plpgsql as $$
begin
  perform stepwell.require_namespace(p_namespace);
  insert into stepwell.namespaces as n (namespace, paused_at) values (p_namespace, stepwell.now())
  on conflict (namespace) do update set paused_at = excluded.paused_at where n.paused_at is null;
  if not found then
    return false;
  end if;
  insert into stepwell.task_events (namespace, kind, actor, reason, happened_at)
  values (p_namespace, 'pause', coalesce(p_actor, session_user), p_reason, stepwell.now());
  return true;
end
$$;

-- Lets a paused namespace go on. Called by: clients. Locks: the namespace's row. Returns whether it was paused.
-- Raises SW006 when there is no such namespace.
create function stepwell.resume_namespace(p_namespace text, p_reason text default null, p_actor text default null)
returns boolean
language plpgsql as $$
begin
  perform stepwell.require_namespace(p_namespace);
  update stepwell.namespaces n set paused_at = null where n.namespace = p_namespace and n.paused_at is not null;
  if not found then
    return false;
  end if;
  insert into stepwell.task_events (namespace, kind, actor, reason, happened_at)
  values (p_namespace, 'resume', coalesce(p_actor, session_user), p_reason, stepwell.now());
  return true;
end
$$;

-- Called by: pause_namespace, resume_namespace, limit_namespace.
create function stepwell.require_namespace(p_namespace text) returns void
language plpgsql as $$
begin
  if p_namespace is null or not exists (select from stepwell.known_namespaces() n where n = p_namespace) then
    raise exception 'there is no namespace %', coalesce(p_namespace, 'null') using errcode = 'SW006',
      hint = 'A namespace exists from the first workflow or worker of it.';
  end if;
end
$$;

-- Puts dead letters back into the queues that they came from, as new messages. One that still cannot be used becomes a
-- dead letter again. Called by: clients. Locks: the dead letters, by id. Returns the ids of those that were put back.
-- Raises SW003 for one whose queue is gone.
create function stepwell.replay_dead_letters(p_ids bigint[], p_reason text default null, p_actor text default null)
returns bigint[]
language plpgsql as $$
declare
  v_letters stepwell.dead_letters[];
begin
  perform from stepwell.dead_letters d where d.dead_letter_id = any (p_ids) order by d.dead_letter_id for update;
  with taken as (
    delete from stepwell.dead_letters d where d.dead_letter_id = any (p_ids) returning d.*
  )
  select array_agg(t::stepwell.dead_letters order by t.dead_letter_id) into v_letters from taken t;
  perform stepwell.require_queue(q.queue) from (select distinct l.queue from unnest(v_letters) l) q;
  perform stepwell.send_messages(q.queue, q.messages, 0)
     from (select l.queue, array_agg(l.message order by l.dead_letter_id) as messages
             from unnest(v_letters) l group by l.queue order by l.queue) q;
  insert into stepwell.task_events (task_id, kind, actor, reason, details, happened_at)
  select stepwell.as_uuid(l.message ->> 'task_id'), 'replay', coalesce(p_actor, session_user), p_reason,
         jsonb_build_object('dead_letter', l.dead_letter_id, 'queue', l.queue, 'because', l.reason), stepwell.now()
    from unnest(v_letters) l;
  return (select coalesce(array_agg(l.dead_letter_id order by l.dead_letter_id), '{}') from unnest(v_letters) l);
end
$$;

-- Removes finished tasks, with all that belongs to them: complete, cancelled and resolved ones that finished p_finished
-- ago, those in error p_failed ago (null: never). One that was cancelled while a worker is at it stays until that has reported, or
-- its claim has expired. Looks at up to p_batch tasks after the id p_after, oldest first, so
-- that a transaction stays small however much there is to keep.
-- Called by: the retention loop, with the last id that it got, and from the start when nothing more was looked at.
-- Locks: tasks by id (SKIP LOCKED).
create function stepwell.remove_finished_tasks(
  p_after uuid, p_batch integer, p_finished interval, p_failed interval,
  out looked_at integer, out removed integer, out last_id uuid)
language plpgsql as $$
declare
  v_now     timestamptz := stepwell.now();
  v_removed uuid[];
begin
  -- Ids sort by time, so what was made after the youngest that could go is not even looked at.
  with oldest as materialized (
    select t.task_id from stepwell.tasks t
     where t.task_id > coalesce(p_after, '00000000-0000-0000-0000-000000000000')
       and t.task_id < stepwell.uuid_v7_floor(v_now - least(p_finished, p_failed))
     order by t.task_id limit p_batch
  ), old as (
    select t.task_id from stepwell.tasks t
     where t.task_id in (select o.task_id from oldest o)
       and ((t.state in ('complete', 'cancelled', 'resolved') and t.finished_at < v_now - p_finished)
            or (t.state = 'error' and t.finished_at < v_now - p_failed))
       and t.task_id not in (select unnest(c.task_ids) from stepwell.claims c)
     order by t.task_id for update skip locked
  )
  select (select count(*) from oldest), (select max(o.task_id::text)::uuid from oldest o),
         (select coalesce(array_agg(o.task_id), '{}') from old o)
    into looked_at, last_id, v_removed;
  delete from stepwell.idempotency_keys k
   using stepwell.tasks t join stepwell.workflows w using (workflow_id)
   where t.task_id = any (v_removed) and t.idempotency_key is not null
     and k.workflow = w.namespace || '/' || w.name and k.idempotency_key = t.idempotency_key;
  delete from stepwell.steps s where s.task_id = any (v_removed);
  delete from stepwell.step_attempts a where a.task_id = any (v_removed);
  delete from stepwell.task_events e where e.task_id = any (v_removed);
  delete from stepwell.unvalidated_tasks u where u.task_id = any (v_removed);
  delete from stepwell.tasks t where t.task_id = any (v_removed);
  removed := cardinality(v_removed);
end
$$;

-- Removes up to p_batch dead letters that are older than p_age, and the idempotency keys of requests among them, whose
-- tasks will never be. Called by: the retention loop. Locks: the dead letters (SKIP LOCKED). Returns how many.
create function stepwell.remove_dead_letters(p_batch integer, p_age interval) returns integer
language plpgsql as $$
declare
  v_removed integer;
begin
  with old as (
    select d.dead_letter_id from stepwell.dead_letters d where d.buried_at < stepwell.now() - p_age
     order by d.dead_letter_id limit p_batch for update skip locked
  ), gone as (
    delete from stepwell.dead_letters d using old o where d.dead_letter_id = o.dead_letter_id returning d.queue, d.message
  ), keys as (
    delete from stepwell.idempotency_keys k using gone g
     where g.queue = 'task_requests' and k.workflow = g.message ->> 'workflow'
       and k.idempotency_key = g.message ->> 'idempotency_key' and k.task_id::text = g.message ->> 'task_id'
  )
  select count(*) into v_removed from gone;
  return v_removed;
end
$$;

-- Removes up to p_batch events that are older than p_age and belong to no task: pauses, limits, replays of requests that never
-- became one. Those of a task go with it. Called by: the retention loop. Locks: the events (SKIP LOCKED). Returns how many.
create function stepwell.remove_events(p_batch integer, p_age interval) returns integer
language plpgsql as $$
declare
  v_removed integer;
begin
  with old as (
    select e.event_id from stepwell.task_events e
     where (e.task_id is null or e.kind = 'replay') and e.happened_at < stepwell.now() - p_age
       and not exists (select from stepwell.tasks t where t.task_id = e.task_id)
     order by e.happened_at limit p_batch for update of e skip locked
  ), gone as (
    delete from stepwell.task_events e using old o where e.event_id = o.event_id returning e.event_id
  )
  select count(*) into v_removed from gone;
  return v_removed;
end
$$;
