-- Dispatch: which ready step comes into its namespace's queue next. Queues are first in, first out, so the order is made
-- before them: a queue is kept short, and what does not fit waits in ready_steps, the smallest dispatch_at first. A step
-- that waits there is 'enqueued' already; only the views tell the difference.

-- When a task's steps would be dispatched if there were no priorities and no queues: its age, and as much as its priority
-- is worth. A task that came later never gets ahead of one of the same priority, and overtakes one of a lower priority
-- only by boost a level, so nothing starves.
create function stepwell.dispatch_at(p_created_at timestamptz, p_priority smallint, p_boost interval) returns timestamptz
language sql stable as $$
  select p_created_at - p_priority * p_boost
$$;

-- What a task's steps count as: tasks with the same key share the workflow's concurrency limit. Null: no limit.
create function stepwell.concurrency_key(p_path text[], p_context jsonb) returns text
language sql stable as $$
  select array_to_string(p_path, '.') || '='
         || case when length(p_context #>> p_path) <= 255 then p_context #>> p_path else md5(p_context #>> p_path) end
$$;

-- Lets steps run: sends them to the queues of their namespaces, or, where others come before them, something is limited, or
-- there is no room, lets them wait for dispatch_steps. Arrays run in parallel. p_times, p_priorities, p_keys: of steps of
-- new tasks, when these were created, and what they have; null: any steps, of which that is looked up.
-- Called by: initialize_requests, admit_tasks, apply_messages, wake_due_steps, recover_claims, retry_task. The steps must be
-- 'enqueued' with that attempt, in the same transaction. Locks: nothing that others wait for, because the caller's
-- transaction can be a user's own. Returns their namespaces.
create function stepwell.enqueue_steps(
  p_namespaces text[], p_task_ids uuid[], p_positions smallint[], p_attempts smallint[], p_times timestamptz[] default null,
  p_priorities smallint[] default null, p_keys text[] default null
) returns text[]
language plpgsql as $$
declare
  v_new   boolean := p_times is not null;
  v_boost interval;
  v_gates record;
  v_sent  record;
begin
  if p_namespaces[1] = all (p_namespaces) and stepwell.offer_steps(p_namespaces[1], p_task_ids, p_positions, p_attempts) then
    return p_namespaces[1:1];
  end if;
  select array_agg(n.namespace) as namespaces, array_agg(g.room) as rooms, array_agg(g.before) as befores,
         array_agg(g.before_task) as before_tasks, bool_and(g.room >= n.steps and g.before is null) as open
    into v_gates
    from (select e.namespace, count(*)::integer as steps from unnest(p_namespaces) as e (namespace)
           group by e.namespace order by e.namespace) n
   cross join lateral stepwell.gate(n.namespace, n.steps) g;
  if v_gates.open then
    perform stepwell.send_steps(p_namespaces, p_task_ids, p_positions, p_attempts);
    return v_gates.namespaces;
  end if;

  select d.boost into v_boost from stepwell.dispatch_settings d;
  if not v_new then
    select array_agg(t.created_at order by e.ordinality), array_agg(t.priority order by e.ordinality),
           array_agg(t.concurrency_key order by e.ordinality)
      into p_times, p_priorities, p_keys
      from unnest(p_task_ids) with ordinality as e (task_id, ordinality)
      left join stepwell.tasks t using (task_id); -- as many as there are steps, in any case
  end if;
  with arrived as (
    select e.namespace, e.task_id, e.position, e.attempt, e.key,
           stepwell.dispatch_at(e.created_at, e.priority, v_boost) as dispatch_at
      from unnest(p_namespaces, p_task_ids, p_positions, p_attempts, p_times, p_priorities, p_keys)
           as e (namespace, task_id, position, attempt, created_at, priority, key)
  ), ordered as materialized (
    select a.*, row_number() over (partition by a.namespace order by a.dispatch_at, a.task_id, a.position) <= g.room
                and (g.before is null or (a.dispatch_at, a.task_id) <= (g.before, g.before_task)) as direct
      from arrived a
      join unnest(v_gates.namespaces, v_gates.rooms, v_gates.befores, v_gates.before_tasks)
           as g (namespace, room, before, before_task) using (namespace)
  ), keyed as (
    insert into stepwell.keyed_steps as k
           (dispatch_at, task_id, position, attempt, admitted, key_limit, namespace, key)
    select o.dispatch_at, o.task_id, o.position, o.attempt, false, w.concurrency_limit, o.namespace, o.key
      from ordered o
      join stepwell.tasks t using (task_id)
      join stepwell.workflows w using (workflow_id)
     where not o.direct and o.key is not null
    on conflict (task_id, position) do update -- that attempt is over
       set attempt = excluded.attempt, dispatch_at = excluded.dispatch_at, admitted = false
  ), touched as (
    insert into stepwell.touched_keys (namespace, key)
    select distinct o.namespace, o.key from ordered o where not o.direct and o.key is not null
  ), ready as (
    insert into stepwell.ready_steps (dispatch_at, task_id, position, attempt, namespace)
    select o.dispatch_at, o.task_id, o.position, o.attempt, o.namespace from ordered o
     where not o.direct and o.key is null and not v_new
    on conflict do nothing
  ), new as ( -- nobody else has them: to look for conflicts would take as long as the insert
    insert into stepwell.ready_steps (dispatch_at, task_id, position, attempt, namespace)
    select o.dispatch_at, o.task_id, o.position, o.attempt, o.namespace from ordered o
     where not o.direct and o.key is null and v_new
  )
  select array_agg(o.namespace) as namespaces, array_agg(o.task_id) as task_ids, array_agg(o.position) as positions,
         array_agg(o.attempt) as attempts
    into v_sent
    from (select s.* from ordered s where s.direct order by s.dispatch_at, s.task_id, s.position) o;
  if v_sent.namespaces is not null then
    perform stepwell.send_steps(v_sent.namespaces, v_sent.task_ids, v_sent.positions, v_sent.attempts);
  end if;
  return v_gates.namespaces;
end
$$;

-- Sends steps of one namespace straight into its queue when that is short, and nothing waits or is limited: what gate and
-- send_steps do then, at less cost; the way of a system that is not busy. Arrays run in parallel.
-- Called by: enqueue_steps. Takes no locks. Returns whether they were sent.
create function stepwell.offer_steps(p_namespace text, p_task_ids uuid[], p_positions smallint[], p_attempts smallint[])
returns boolean
language plpgsql as $$
declare
  v_least integer;
  v_sent  boolean := false;
begin
  if stepwell.is_open(p_namespace) and not exists (select from stepwell.ready_steps r where r.namespace = p_namespace) then
    v_least := (select greatest(d.queue_window / 10, 1) from stepwell.dispatch_settings d);
    if cardinality(p_task_ids) <= v_least then
      execute pg_catalog.format('select stepwell.%I($1, $2)', 'offer_' || p_namespace || '_queue') into v_sent
        using array(select jsonb_build_object('task_id', e.task_id, 'step', e.position, 'attempt', e.attempt)
                      from unnest(p_task_ids, p_positions, p_attempts) as e (task_id, position, attempt)),
              v_least;
    end if;
  end if;
  return v_sent;
end
$$;

-- Whether nothing limits the steps of a namespace.
create function stepwell.is_open(p_namespace text) returns boolean
language plpgsql stable as $$
begin
  return not exists (select from stepwell.namespaces n
                      where n.namespace = p_namespace and (n.concurrency is not null or n.rate is not null))
     and not exists (select from stepwell.workflows w where w.namespace = p_namespace and w.concurrency_key is not null);
end
$$;

-- Whether steps of a namespace may go to a worker past its queue: nothing is limited, and it is not paused. p_new: they are not
-- what results have just made ready, but work that begins, or has waited. While many results wait to be applied no such work
-- starts, as with dispatch; what goes on with a worker's own results adds nothing to those that wait.
-- Called by: initialize_requests, place_steps, line_up, settle_results. Takes no locks.
create function stepwell.may_bypass_queue(p_namespace text, p_new boolean) returns boolean
language plpgsql stable as $$
begin
  return not (p_new and stepwell.results_wait()) and not exists (select from stepwell.namespaces n
                      where n.namespace = p_namespace
                        and (n.concurrency is not null or n.rate is not null or n.paused_at is not null))
     and not exists (select from stepwell.workflows w where w.namespace = p_namespace and w.concurrency_key is not null);
end
$$;

-- How many of so many steps may go straight into a namespace's queue, and before which dispatch_at and task they have to
-- be for that; null: any. What comes before all that waits may fill the queue: it would be sent next anyway.
-- Called by: enqueue_steps. Takes no locks.
create function stepwell.gate(
  p_namespace text, p_steps integer, out room integer, out before timestamptz, out before_task uuid)
language plpgsql stable as $$
declare
  v_window integer;
begin
  select d.queue_window into v_window from stepwell.dispatch_settings d;
  if not stepwell.is_open(p_namespace) then
    room := 0;
    return;
  end if;
  select r.dispatch_at, r.task_id into before, before_task from stepwell.ready_steps r where r.namespace = p_namespace
   order by r.dispatch_at, r.task_id, r.position, r.attempt limit 1;
  room := case when before is not null then v_window - stepwell.queue_length(p_namespace, v_window)
               when p_steps > v_window / 10 and stepwell.results_wait() then 0
               else stepwell.queue_room(p_namespace, v_window, p_steps) end;
end
$$;

-- How many more messages a namespace's queue takes from what waits: a tenth of the window always, and more as workers take
-- more, twice what they hold, so that they never wait for dispatch, and an urgent step never stands behind more than they
-- finish soon. Half of the window is left to what comes before all that waits. p_enough: who asks has no more than that.
-- Called by: gate, dispatch_namespace. Takes no locks.
create function stepwell.queue_room(p_namespace text, p_window integer, p_enough integer) returns integer
language plpgsql stable as $$
declare
  v_least  integer := greatest(p_window / 10, 1);
  v_queued integer := stepwell.queue_length(p_namespace, p_window);
  v_held   integer;
begin
  if v_queued + p_enough <= v_least then
    return p_enough; -- without a look at what is held: the way of a system that is not busy
  end if;
  -- by the key, which passes over what is dead; the table has that from every report until the next vacuum
  select coalesce(sum(cardinality(c.positions)), 0) into v_held
    from stepwell.claims c where c.claim_id > 0 and c.namespace = p_namespace;
  return greatest(greatest(v_least, least(p_window / 2, 2 * v_held)) - v_queued, 0);
end
$$;

-- Messages in a namespace's queue; counts no further than p_most. Called by: gate, queue_room.
create function stepwell.queue_length(p_namespace text, p_most integer) returns integer
language plpgsql stable as $$
declare
  v_length integer;
begin
  execute pg_catalog.format('select stepwell.%I($1)', 'count_' || p_namespace || '_queue') into v_length using p_most;
  return v_length;
end
$$;

-- Whether workers finish faster than orchestrators apply, by many messages: then nothing more is given to them.
-- Called by: gate, dispatch_steps. Takes no locks.
create function stepwell.results_wait() returns boolean
language plpgsql stable as $$
begin
  return (select count(*) = 64 from (select from pgmq.q_step_results limit 64) r);
end
$$;

-- Whether there is anything to dispatch. Called by: dispatch_steps, and who spares itself that call. Takes no locks.
create function stepwell.steps_wait() returns boolean
language plpgsql stable as $$
begin
  return exists (select from stepwell.ready_steps) or exists (select from stepwell.touched_keys);
end
$$;

-- Fills the queues of namespaces in which steps are ready, in the order of dispatch_at, as far as there is room and
-- nothing limits it: pause, concurrency, rate, the concurrency of keys. The namespaces share p_batch.
-- Called by: initialize_tasks and apply_results, as the last that they do, and the upkeep loop. Locks: a namespace for other
-- dispatchers (an advisory lock until the commit; who finds it taken leaves the namespace to whoever has it), then ready
-- and keyed steps (SKIP LOCKED): it waits for nobody. Others wait for those rows, so nothing may be locked after it.
-- Returns how many steps it sent, and their namespaces.
create function stepwell.dispatch_steps(p_batch integer, out dispatched integer, out namespaces text[])
language plpgsql as $$
declare
  v_waiting   text[];
  v_namespace text;
  v_sent      integer;
begin
  dispatched := 0;
  namespaces := '{}';
  if not stepwell.steps_wait() or stepwell.results_wait() then
    return;
  end if;
  v_waiting := stepwell.waiting_namespaces();
  foreach v_namespace in array v_waiting loop
    continue when not pg_try_advisory_xact_lock(1936029041, hashtext(v_namespace));
    perform stepwell.admit_keyed_steps(v_namespace, p_batch);
    v_sent := stepwell.dispatch_namespace(v_namespace, greatest(p_batch / cardinality(v_waiting), 1));
    if v_sent > 0 then
      dispatched := dispatched + v_sent;
      namespaces := namespaces || v_namespace;
    end if;
  end loop;
end
$$;

-- Namespaces with something to dispatch; from one to the next by the index, however many steps each has.
-- Called by: dispatch_steps.
create function stepwell.waiting_namespaces() returns text[]
language plpgsql stable as $$
declare
  v_first text := (select r.namespace from stepwell.ready_steps r order by r.namespace limit 1);
begin
  if v_first = (select r.namespace from stepwell.ready_steps r order by r.namespace desc limit 1)
     and not exists (select from stepwell.touched_keys) then
    return array[v_first]; -- there is but one
  end if;
  return (
  with recursive ready as (
    (select r.namespace from stepwell.ready_steps r order by r.namespace limit 1)
    union all
    select (select r.namespace from stepwell.ready_steps r where r.namespace > b.namespace order by r.namespace limit 1)
      from ready b where b.namespace is not null
  ), touched as (
    (select t.namespace from stepwell.touched_keys t order by t.namespace limit 1)
    union all
    select (select t.namespace from stepwell.touched_keys t where t.namespace > b.namespace order by t.namespace limit 1)
      from touched b where b.namespace is not null
  )
  select coalesce(array_agg(n.namespace order by n.namespace), '{}')
    from (select r.namespace from ready r union select t.namespace from touched t) n
   where n.namespace is not null);
end
$$;

-- Fills the queue of one namespace. Called by: dispatch_steps, which holds the namespace's lock, so that what is counted
-- here is counted by one at a time. Returns how many steps it sent.
create function stepwell.dispatch_namespace(p_namespace text, p_most integer) returns integer
language plpgsql as $$
declare
  v_now    timestamptz := stepwell.now();
  v_limits stepwell.namespaces;
  v_window integer;
  v_room   integer;
  v_taken  record;
begin
  select n.* into v_limits from stepwell.namespaces n where n.namespace = p_namespace;
  if v_limits.paused_at is not null then
    return 0;
  end if;
  select d.queue_window into v_window from stepwell.dispatch_settings d;
  if v_limits.rate is not null then
    -- No more ahead than a tenth of a second is worth, or a worker that comes late would do it all at once.
    v_window := greatest(least(v_window, v_limits.rate * 0.1 / extract(epoch from v_limits.rate_period)), 1) * 10;
  end if;
  v_room := least(p_most, stepwell.queue_room(p_namespace, v_window, p_most), stepwell.concurrency_left(v_limits),
                  stepwell.rate_left(v_limits, v_now));
  if v_room <= 0 then
    return 0;
  end if;

  select * into v_taken from stepwell.take_ready_steps(p_namespace, v_room);
  if v_taken.steps > 0 then
    perform stepwell.send_steps(array_fill(p_namespace, array[v_taken.steps]), v_taken.task_ids, v_taken.positions,
                                v_taken.attempts);
    if v_limits.rate is not null then
      insert into stepwell.dispatches as d (namespace, dispatched_at, steps) values (p_namespace, v_now, v_taken.steps)
      on conflict (namespace, dispatched_at) do update set steps = d.steps + excluded.steps;
    end if;
  end if;
  return v_taken.steps;
end
$$;

-- Takes up to p_most steps that wait for a place in the queue of a namespace, the smallest dispatch_at first. Arrays run in
-- parallel, null when there is none. Called by: dispatch_namespace, settle_results. Locks: ready steps (SKIP LOCKED).
create function stepwell.take_ready_steps(
  p_namespace text, p_most integer, out steps integer, out task_ids uuid[], out positions smallint[], out attempts smallint[])
language plpgsql as $$
begin
  with taken as (
    delete from stepwell.ready_steps r
     where r.ctid = any (array(select c.ctid from stepwell.ready_steps c where c.namespace = p_namespace
                                order by c.dispatch_at, c.task_id, c.position, c.attempt
                                limit p_most for update skip locked))
    returning r.dispatch_at, r.task_id, r.position, r.attempt
  )
  select count(*)::integer, array_agg(t.task_id), array_agg(t.position), array_agg(t.attempt)
    into steps, task_ids, positions, attempts
    from (select * from taken order by dispatch_at, task_id, position) t; -- sorted once, not for each array
end
$$;

-- How many more steps a namespace's concurrency allows; null when it has no such limit. What stands in the queue and what
-- claims hold are counted in one statement, so that a step on its way from the one to the other is counted once.
-- Called by: dispatch_namespace. Takes no locks.
create function stepwell.concurrency_left(p_limits stepwell.namespaces) returns integer
language plpgsql stable as $$
declare
  v_left integer;
begin
  if p_limits.concurrency is not null then
    execute pg_catalog.format(
      'select $1 - (select count(*) from (select from pgmq.%I limit $1) q)
                 - (select coalesce(sum(cardinality(c.task_ids)), 0) from stepwell.claims c where c.namespace = $2)',
      pgmq.format_table_name(p_limits.namespace || '_queue', 'q'))
      into v_left using p_limits.concurrency, p_limits.namespace;
  end if;
  return v_left;
end
$$;

-- How many more steps a namespace's rate allows now; null when it has no such limit. Forgets what is older than the
-- period. Called by: dispatch_namespace, which holds the namespace's lock.
create function stepwell.rate_left(p_limits stepwell.namespaces, p_now timestamptz) returns integer
language plpgsql as $$
begin
  if p_limits.rate is null then
    return null;
  end if;
  delete from stepwell.dispatches d where d.namespace = p_limits.namespace and d.dispatched_at <= p_now - p_limits.rate_period;
  return (select p_limits.rate - coalesce(sum(d.steps), 0) from stepwell.dispatches d where d.namespace = p_limits.namespace);
end
$$;

-- Lets as many steps of each concurrency key go on as its limit allows, in the order of dispatch_at: they wait for a place
-- in the queue from then on. Looks at keys that were touched, not at all there are. A key stays touched while it has room
-- and somebody who could not be looked at: whoever holds that row may roll back, and would tell nobody.
-- Called by: dispatch_steps, which holds the namespace's lock. p_batch: touches.
create function stepwell.admit_keyed_steps(p_namespace text, p_batch integer) returns void
language plpgsql as $$
declare
  v_keys text[];
begin
  with touched as (
    delete from stepwell.touched_keys t
     where t.ctid = any (array(select c.ctid from stepwell.touched_keys c where c.namespace = p_namespace
                                order by c.touch_id limit p_batch for update skip locked))
    returning t.key
  )
  select array_agg(distinct t.key) into v_keys from touched t;
  if v_keys is null then
    return;
  end if;
  with chosen as materialized (
    select w.task_id, w.position
      from unnest(v_keys) as k (key)
     cross join lateral (select count(*)::integer as admitted from stepwell.keyed_steps a
                          where a.namespace = p_namespace and a.key = k.key and a.admitted) n
     cross join lateral (
       select s.task_id, s.position, row_number() over (order by s.dispatch_at, s.task_id, s.position) as place, s.key_limit
         from (select c.* from stepwell.keyed_steps c
                where c.namespace = p_namespace and c.key = k.key and not c.admitted
                order by c.dispatch_at, c.task_id, c.position
                limit greatest((select max(m.key_limit) from (
                        select l.key_limit from stepwell.keyed_steps l
                         where l.namespace = p_namespace and l.key = k.key and not l.admitted
                         order by l.dispatch_at, l.task_id, l.position limit 1) m) - n.admitted, 0)
                  for update skip locked) s) w
     where n.admitted + w.place <= w.key_limit
  ), admitted as (
    update stepwell.keyed_steps k set admitted = true
      from chosen c where k.task_id = c.task_id and k.position = c.position
    returning k.dispatch_at, k.task_id, k.position, k.attempt, k.namespace
  )
  insert into stepwell.ready_steps (dispatch_at, task_id, position, attempt, namespace)
  select a.dispatch_at, a.task_id, a.position, a.attempt, a.namespace from admitted a
  on conflict do nothing;
  insert into stepwell.touched_keys (namespace, key)
  select p_namespace, k.key
    from unnest(v_keys) as k (key)
   cross join lateral (select w.key_limit from stepwell.keyed_steps w
                        where w.namespace = p_namespace and w.key = k.key and not w.admitted
                        order by w.dispatch_at, w.task_id, w.position limit 1) f
   where f.key_limit > (select count(*) from stepwell.keyed_steps a
                         where a.namespace = p_namespace and a.key = k.key and a.admitted);
end
$$;

-- Gives up the places of steps whose attempt is over, so that others with their keys can go on.
-- Called by: whoever ended attempts and holds the tasks' locks: apply_messages, recover_claims, fail_overdue_tasks,
-- release_unhandled, cancel_task. Locks: the keyed steps, which dispatch_steps skips.
create function stepwell.free_keys(p_task_ids uuid[]) returns void
language plpgsql as $$
begin
  if not exists (select from stepwell.workflows w where w.concurrency_key is not null) then
    return;
  end if;
  with freed as (
    delete from stepwell.keyed_steps k using stepwell.steps s
     where k.task_id = any (p_task_ids) and s.task_id = k.task_id and s.position = k.position
       and (s.state <> 'enqueued' or s.attempt <> k.attempt)
    returning k.namespace, k.key
  )
  insert into stepwell.touched_keys (namespace, key) select distinct f.namespace, f.key from freed f;
end
$$;

-- Takes what still waits of tasks that have ended out of ready_steps. Called by: cancel_task, fail_overdue_tasks, which
-- hold the tasks' locks. What it does not find, because boost was another when it came, is dropped when it is claimed.
create function stepwell.withdraw_ready_steps(p_task_ids uuid[]) returns void
language plpgsql as $$
begin
  delete from stepwell.ready_steps r
   using stepwell.tasks t join stepwell.workflows w using (workflow_id)
   where t.task_id = any (p_task_ids) and r.namespace = w.namespace
     and r.dispatch_at = stepwell.dispatch_at(t.created_at, t.priority, (select d.boost from stepwell.dispatch_settings d))
     and r.task_id = t.task_id;
end
$$;

-- Writes what the configuration says of queues' windows and of priorities. Called by: orchestrators when they start; the
-- last that says something else is heard. Locks: the one row of dispatch_settings, when it changes. Raises SW003 for what the
-- configuration would refuse.
create function stepwell.configure_dispatch(p_queue_window integer, p_boost interval) returns void
language plpgsql as $$
begin
  if (p_queue_window between 1 and 1000000 and p_boost between interval '0' and interval '365 days') is not true then
    raise exception 'configure_dispatch: a window is 1 to 1,000,000 steps, a boost 0 to 365 days' using errcode = 'SW003';
  end if;
  update stepwell.dispatch_settings d set queue_window = p_queue_window, boost = p_boost
   where (d.queue_window, d.boost) is distinct from (p_queue_window, p_boost);
end
$$;

-- Limits a namespace: at most p_concurrency steps of it in its queue and in work together, and at most p_rate steps that
-- come into its queue within any p_rate_period, 100 ms to a day. Null: no such limit. What is in the queue stays there.
-- Called by: clients. Locks: the namespace's row. Raises SW006 when there is no such namespace, SW003 for a limit that is none.
create function stepwell.limit_namespace(
  p_namespace text, p_concurrency integer, p_rate integer, p_rate_period interval,
  p_reason text default null, p_actor text default null
) returns void
language plpgsql as $$
begin
  perform stepwell.require_namespace(p_namespace);
  if p_concurrency < 1 or p_rate < 1 or (p_rate is null) <> (p_rate_period is null)
     or p_rate_period not between interval '100 ms' and interval '1 day' then
    raise exception 'limit_namespace: concurrency and rate must be at least 1, and a rate needs a period of 100 ms to a day'
      using errcode = 'SW003';
  end if;
  insert into stepwell.namespaces as n (namespace, concurrency, rate, rate_period)
  values (p_namespace, p_concurrency, p_rate, p_rate_period)
  on conflict (namespace) do update
     set concurrency = excluded.concurrency, rate = excluded.rate, rate_period = excluded.rate_period;
  if p_rate is null then
    delete from stepwell.dispatches d where d.namespace = p_namespace;
  end if;
  insert into stepwell.task_events (namespace, kind, actor, reason, details, happened_at)
  values (p_namespace, 'limit', coalesce(p_actor, session_user), p_reason,
          jsonb_build_object('concurrency', p_concurrency, 'rate', p_rate,
                             'rate_period', extract(epoch from p_rate_period)), stepwell.now());
end
$$;

-- One row a namespace: what stands in its queue and since when, what waits for a place there, what is held by workers,
-- what is set for it, and why what waits is not in the queue. Of what is queued, ready and keyed at most 10,000 are counted,
-- so it takes as long with a million. For people and dashboards.
create function stepwell.queue_status()
returns table (namespace text, queued bigint, oldest_at timestamptz, ready bigint, keyed bigint, in_progress bigint,
               paused_at timestamptz, concurrency integer, rate integer, rate_period interval, waits_for text)
language plpgsql stable as $$
declare
  v_namespace text;
begin
  for v_namespace in
    select n from stepwell.known_namespaces() n
  loop
    return query execute pg_catalog.format(
      'select n.namespace, least(q.queued, 10000), q.oldest_at, r.ready, k.keyed, c.held, s.paused_at, s.concurrency, s.rate, s.rate_period,
              case when r.ready + k.keyed + q.queued = 0 then null
                   when s.paused_at is not null then pg_catalog.format(''paused since %%s'', s.paused_at)
                   when c.held = 0 and q.queued > 0 then ''a worker''
                   when r.ready = 0 and k.keyed > 0 then ''steps with the same concurrency key''
                   when s.concurrency <= q.queued + c.held then pg_catalog.format(''the limit of %%s steps at the same time'', s.concurrency)
                   when r.ready > 0 and s.rate is not null then pg_catalog.format(''the limit of %%s steps in %%s'', s.rate, s.rate_period)
                   when r.ready > 0 then ''a place in the queue'' end
         from (select %1$L::text as namespace) n
         left join stepwell.namespaces s using (namespace)
        cross join lateral (select (select count(*) from (select from pgmq.%2$I limit greatest(10000, s.concurrency)) m) as queued,
                                   (select m.enqueued_at from pgmq.%2$I m order by m.msg_id limit 1) as oldest_at) q
        cross join lateral (select count(*) as ready
                              from (select from stepwell.ready_steps w where w.namespace = n.namespace limit 10000) w) r
        cross join lateral (select count(*) as keyed
                              from (select from stepwell.keyed_steps w
                                     where w.namespace = n.namespace and not w.admitted limit 10000) w) k
        cross join lateral (select coalesce(sum(cardinality(w.task_ids)), 0) as held from stepwell.claims w
                             where w.namespace = n.namespace and w.expires_at > stepwell.now()) c',
      v_namespace, pgmq.format_table_name(v_namespace || '_queue', 'q'));
  end loop;
end
$$;
