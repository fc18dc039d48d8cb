-- Hop 3 of 5: a worker takes up to p_batch steps of a namespace for p_lease. The messages are deleted and claims
-- rows are written, one for 32 steps, in one transaction: a worker that dies leaves the claims, and they expire.
-- Called by: workers. Locks: the messages it pops (SKIP LOCKED), nothing else.
-- A message of another attempt than its step is on (the step was recovered, cancelled, resolved) is dropped, and a fetch
-- with nothing else in it is followed by another; one that names no step goes to dead_letters. A paused namespace gives
-- nothing. Returns one row a step, oldest message first. Raises SW003 when the namespace has no queue of ours.

create function stepwell.claim_steps(p_namespace text, p_batch integer, p_worker_id text, p_lease interval)
returns setof stepwell.claimed_step
language plpgsql as $$
declare
  v_popped record;
begin
  perform stepwell.require_queue(p_namespace || '_queue');
  if exists (select from stepwell.namespaces n where n.namespace = p_namespace and n.paused_at is not null) then
    return;
  end if;
  for v_fetch in 1 .. 20 loop
    select m.messages, m.times into v_popped from stepwell.pop_messages(p_namespace || '_queue', p_batch) m;
    exit when v_popped.messages is null;
    return query select * from stepwell.claim_messages(p_namespace, p_worker_id, p_lease, v_popped.messages, v_popped.times);
    exit when found;
  end loop;
end
$$;

-- Claims the steps that messages are about, which have been popped. Called by: claim_steps, handle_messages.
create function stepwell.claim_messages(
  p_namespace text, p_worker_id text, p_lease interval, p_messages jsonb[], p_times timestamptz[])
returns setof stepwell.claimed_step
language plpgsql as $$
declare
  v_named    record;
  v_step     stepwell.claimed_step;
  v_runnable record;
begin
  select * into v_named from stepwell.read_steps(p_messages);
  if cardinality(p_messages) = 1 then
    v_step := stepwell.claim_step(p_namespace, v_named.task_ids[1], v_named.positions[1], v_named.attempts[1], p_times[1],
                                  p_worker_id, p_lease);
    if v_step.claim_id is not null then
      return next v_step;
      return;
    end if;
  end if;
  if stepwell.are_distinct(v_named.task_ids, v_named.positions, v_named.attempts) then
    return query
      select * from stepwell.claim_named(p_namespace, v_named.task_ids, v_named.positions, v_named.attempts, p_times,
                                         p_worker_id, p_lease, p_messages);
  else
    v_runnable := stepwell.runnable_steps(p_namespace, p_messages, p_times, v_named.task_ids, v_named.positions,
                                          v_named.attempts);
    return query
      select * from stepwell.claim_named(p_namespace, v_runnable.task_ids, v_runnable.positions, v_runnable.attempts,
                                         v_runnable.times, p_worker_id, p_lease);
  end if;
end
$$;

-- Whether each of the named steps is there once, and whole. Called by: claim_steps, settle_results. Takes no locks.
create function stepwell.are_distinct(p_task_ids uuid[], p_positions smallint[], p_attempts smallint[]) returns boolean
language plpgsql immutable as $$
begin
  return cardinality(p_task_ids) = (
    select count(*)
      from (select distinct n.task_id, n.position from unnest(p_task_ids, p_positions, p_attempts) as n (task_id, position, attempt)
             where n.task_id is not null and n.position is not null and n.attempt is not null) d);
end
$$;

-- Those of attempts that their steps are on; arrays run in parallel, null when there is none. p_messages: where they are from, for
-- the dead letters when there are no such steps. Called by: claim_steps, settle_results. Takes no locks.
create function stepwell.runnable_steps(
  p_namespace text, p_messages jsonb[], p_times timestamptz[], p_task_ids uuid[], p_positions smallint[], p_attempts smallint[],
  out task_ids uuid[], out positions smallint[], out attempts smallint[], out times timestamptz[])
language plpgsql as $$
begin
  with found as materialized (
    select m.ordinality, m.message, m.enqueued_at, m.attempt, s.task_id, s.position,
           s.state = 'enqueued' and s.attempt = m.attempt as runnable
      from unnest(p_messages, p_times, p_task_ids, p_positions, p_attempts)
           with ordinality as m (message, enqueued_at, task_id, position, attempt, ordinality)
      left join stepwell.steps s on s.task_id = m.task_id and s.position = m.position
  ), buried as (
    insert into stepwell.dead_letters (queue, message, reason, buried_at)
    select p_namespace || '_queue', f.message, 'the message names no step of a task', stepwell.now()
      from found f where f.task_id is null and p_messages is not null
  )
  select array_agg(r.task_id), array_agg(r.position), array_agg(r.attempt), array_agg(r.enqueued_at)
    into task_ids, positions, attempts, times
    from (select u.* -- whoever sends by hand can put a step into the queue twice; it is claimed once
            from (select distinct on (f.task_id, f.position) f.* from found f where f.runnable) u
           order by u.ordinality) r;
end
$$;

-- Claims for a worker those of attempts that their steps are on; arrays run in parallel, and no step is in them twice. p_times:
-- since when they have waited; null: since now. p_messages: where they are from, for the dead letters. A claim is of 32 steps at
-- most, because a report locks and rewrites the claims of its results: several at a time do not meet in one, and what is rewritten
-- is short.
-- Called by: claim_steps, settle_results. Takes no locks that others wait for. Returns the steps in the order of the arrays.
create function stepwell.claim_named(
  p_namespace text, p_task_ids uuid[], p_positions smallint[], p_attempts smallint[], p_times timestamptz[], p_worker_id text,
  p_lease interval, p_messages jsonb[] default null)
returns setof stepwell.claimed_step
language plpgsql as $$
declare
  c_size    constant integer := 32;
  v_now     timestamptz := stepwell.now();
  v_claims  bigint[];
  v_claimed integer;
  v_others  record;
begin
  if p_task_ids is null then
    return;
  end if;
  v_claims := array(select nextval('stepwell.claims_claim_id_seq')
                      from generate_series(1, (cardinality(p_task_ids) - 1) / c_size + 1));
  insert into stepwell.claims (claim_id, expires_at, claimed_at, namespace, worker_id, task_ids, positions, attempts)
  overriding system value
  select v_claims[c], v_now + p_lease, v_now, p_namespace, p_worker_id, p_task_ids[f:l], p_positions[f:l], p_attempts[f:l]
    from generate_subscripts(v_claims, 1) c, lateral (select (c - 1) * c_size + 1 as f, c * c_size as l) slice;
  return query
    select v_claims[(m.nth - 1) / c_size + 1], m.task_id, m.position, m.attempt, s.max_attempts,
           t.workflow_id, t.context::text,
           case when cardinality(s.depends_on) = 1 then -- one takes a third of what some take
             (select '{"' || o.name || '": ' || coalesce(o.result::text, 'null') || '}' from stepwell.steps o
               where o.task_id = m.task_id and o.position = s.depends_on[1])
                when s.depends_on is not null then
             (select jsonb_object_agg(d.name, d.result)::text
                from unnest(s.depends_on) as p (position)
               cross join lateral ( -- one by one by key, however many steps the task has
                 select o.name, o.result from stepwell.steps o
                  where o.task_id = m.task_id and o.position = p.position offset 0) d) end,
           t.correlation_id, t.trace_context::text, coalesce((date_part('epoch', v_now - m.enqueued_at) * 1000)::bigint, 0)
      -- rows by key, one after the other: as they are in the arrays
      from unnest(p_task_ids, p_positions, p_attempts, p_times) with ordinality as m (task_id, position, attempt, enqueued_at, nth)
      join stepwell.steps s on s.task_id = m.task_id and s.position = m.position and s.attempt = m.attempt and s.state = 'enqueued'
      join stepwell.tasks t on t.task_id = m.task_id;
  get diagnostics v_claimed = row_count;
  if v_claimed < cardinality(p_task_ids) then -- the rare ones leave the common path alone
    with others as (
      select m.nth, m.task_id, m.position, m.message, s.task_id is null as unknown
        from unnest(p_task_ids, p_positions, p_attempts, p_messages) with ordinality as m (task_id, position, attempt, message, nth)
        left join stepwell.steps s on s.task_id = m.task_id and s.position = m.position
       where s.task_id is null or s.attempt <> m.attempt or s.state <> 'enqueued'
    ), buried as (
      insert into stepwell.dead_letters (queue, message, reason, buried_at)
      select p_namespace || '_queue', o.message, 'the message names no step of a task', stepwell.now()
        from others o where o.unknown and o.message is not null
    )
    select array_agg(v_claims[(o.nth - 1) / c_size + 1]) as claims, array_agg(o.task_id) as task_ids,
           array_agg(o.position) as positions
      into v_others from others o;
    perform stepwell.shrink_claims(v_others.claims, v_others.task_ids, v_others.positions);
  end if;
end
$$;

-- The same for one attempt: what sets up the statement above for many takes longer than all that is done for one. p_since: when
-- its step came into the queue, or passed it. Null when the step is not on that attempt, or there is no such step.
-- Called by: claim_steps, initialize_tasks, begin_task, settle_results. Takes no locks.
create function stepwell.claim_step(
  p_namespace text, p_task_id uuid, p_position smallint, p_attempt smallint, p_since timestamptz, p_worker_id text,
  p_lease interval)
returns stepwell.claimed_step
language plpgsql as $$
declare
  v_step stepwell.claimed_step;
begin
  select null, s.task_id, s.position, s.attempt, s.max_attempts, t.workflow_id, t.context::text,
         case when s.depends_on is not null then
           (select jsonb_object_agg(d.name, d.result)::text from stepwell.steps d
             where d.task_id = p_task_id and d.position = any (s.depends_on)) end,
         t.correlation_id, t.trace_context::text, (date_part('epoch', stepwell.now() - p_since) * 1000)::bigint
    into v_step
    from stepwell.steps s
    join stepwell.tasks t on t.task_id = p_task_id
   where s.task_id = p_task_id and s.position = p_position and s.attempt = p_attempt and s.state = 'enqueued';
  if not found then
    return null;
  end if;
  insert into stepwell.claims as c (expires_at, claimed_at, namespace, worker_id, task_ids, positions, attempts)
  values (stepwell.now() + p_lease, stepwell.now(), p_namespace, p_worker_id, array[p_task_id], array[p_position],
          array[p_attempt])
  returning c.claim_id into v_step.claim_id;
  return v_step;
end
$$;

-- The steps of these workflows, as they are defined, by workflow and position: what claimed steps are. A definition never changes,
-- so workers ask once. Called by: workers, orchestrators. Takes no locks.
create function stepwell.describe_steps(p_workflow_ids integer[])
returns table (workflow_id integer, "position" smallint, workflow text, version text, name text, handler text, timeout_ms bigint,
               config text)
language sql stable as $$
  select w.workflow_id, s.position, w.namespace || '/' || w.name, w.version, s.name, s.handler,
         (extract(epoch from s.timeout) * 1000)::bigint, s.config::text
    from stepwell.workflows w
    join stepwell.workflow_steps s using (workflow_id)
   where w.workflow_id = any (p_workflow_ids)
   order by w.workflow_id, s.position
$$;
