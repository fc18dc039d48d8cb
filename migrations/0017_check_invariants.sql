-- The history checker. Every part reads each table once and joins by hash or merge; nothing is looked up once a row.

-- Which attempts of which steps are on their way: before a namespace's queue, in it, in a claim, or in step_results.
create function stepwell.messages_in_flight()
returns table (place text, task_id uuid, "position" smallint, attempt smallint)
language plpgsql stable as $$
declare
  v_queue text;
begin
  return query
    select 'claims', u.task_id, u.position, u.attempt
      from stepwell.claims c cross join unnest(c.task_ids, c.positions, c.attempts) as u (task_id, position, attempt)
    union all
    select 'ready_steps', r.task_id, r.position, r.attempt from stepwell.ready_steps r
    union all
    select 'keyed_steps', k.task_id, k.position, k.attempt from stepwell.keyed_steps k where not k.admitted;
  return query
    select 'step_results', stepwell.as_uuid(r.result ->> 'task_id'), stepwell.as_smallint(r.result ->> 'step'),
           stepwell.as_smallint(r.result ->> 'attempt')
      from pgmq.q_step_results q cross join lateral stepwell.results_of(q.message) as r (result);
  for v_queue in select q.queue_name from pgmq.meta q
                  where q.queue_name in (select w.namespace || '_queue' from stepwell.workflows w)
  loop
    return query execute format(
      'select %L, stepwell.as_uuid(q.message ->> ''task_id''), stepwell.as_smallint(q.message ->> ''step''),
              stepwell.as_smallint(q.message ->> ''attempt'') from pgmq.%I q',
      v_queue, pgmq.format_table_name(v_queue, 'q'));
  end loop;
end
$$;

-- Invariant 1, and what steps wait for: each step against those it depends on.
create function stepwell.check_dependencies()
returns table (invariant text, task_id uuid, step text, details text)
language sql stable as $$
  with edges as materialized (
    select s.task_id, s.position, s.name, s.state, s.attempt, s.started_at, d.name as dependency,
           d.state as dependency_state, d.finished_at, d.state is null or d.state not in ('complete', 'resolved') as open
      from stepwell.steps s
     cross join unnest(s.depends_on) as e (position)
      left join stepwell.steps d on d.task_id = s.task_id and d.position = e.position
  )
  select 'dependencies first', e.task_id, e.name,
         format('is %s (attempt %s) while %s is %s', e.state, e.attempt, e.dependency, e.dependency_state)
    from edges e
   where e.open and (e.attempt > 0 or e.state not in ('pending', 'cancelled'))
  union all
  select 'dependencies first', e.task_id, e.name,
         format('started %s before %s finished %s', e.started_at, e.dependency, e.finished_at)
    from edges e
   where e.state = 'complete' and e.dependency_state = 'complete' and e.started_at < e.finished_at - interval '50 ms'
  union all
  select 'dependencies first', e.task_id, e.name,
         format('started %s with attempt %s before %s finished %s', a.started_at, a.attempt, e.dependency, e.finished_at)
    from edges e
    join stepwell.step_attempts a on a.task_id = e.task_id and a.position = e.position
   where e.dependency_state = 'complete' and a.started_at < e.finished_at - interval '50 ms'
  union all
  select 'counters', s.task_id, s.name, format('waiting_on is %s, open dependencies %s', s.waiting_on, coalesce(o.open, 0))
    from stepwell.steps s
    left join (select e.task_id, e.position, count(*) filter (where e.open) as open from edges e group by 1, 2) o
           on o.task_id = s.task_id and o.position = s.position
   where s.waiting_on <> coalesce(o.open, 0)
  union all
  -- An error with a failed step has run; one without is a request that was refused, whose steps never start.
  select 'nothing lost', s.task_id, s.name, 'is pending although it waits for nothing'
    from stepwell.steps s
    join stepwell.tasks t on t.task_id = s.task_id
   where s.state = 'pending' and s.waiting_on = 0
     and (t.state = 'in_progress' or t.state = 'error' and t.steps_failed > 0)
$$;

-- Invariant 2: each step against what its attempts left behind.
create function stepwell.check_attempts()
returns table (invariant text, task_id uuid, step text, details text)
language sql stable as $$
  with attempts as materialized (
    select s.task_id, s.name, s.state, s.attempt, s.max_attempts, s.finished_at, s.result is not null as has_result,
           count(a.attempt) filter (where a.attempt between 1 and s.attempt - 1) as earlier,
           count(a.attempt) filter (where a.attempt = s.attempt and a.attempt > 0) as current,
           count(a.attempt) filter (where a.attempt not between 1 and s.attempt) as beyond,
           bool_or(a.kind = 'permanent' and a.attempt < s.attempt) as tried_in_vain
      from stepwell.steps s
      left join stepwell.step_attempts a on a.task_id = s.task_id and a.position = s.position
     group by s.task_id, s.position
  )
  select 'one outcome', s.task_id, s.name, v.details
    from attempts s
   cross join lateral (values
     (case when s.current > 0 and s.state = 'complete' then format('attempt %s failed and completed', s.attempt) end),
     (case when s.current > 0 and s.state = 'enqueued' then format('attempt %s failed and is enqueued', s.attempt) end),
     (case when s.current = 0 and s.state in ('error', 'waiting_for_retry')
           then format('is %s, but nothing says how attempt %s failed', s.state, s.attempt) end),
     (case when s.earlier <> greatest(s.attempt - 1, 0)
           then format('is on attempt %s, but %s before it left a row', s.attempt, s.earlier) end),
     (case when s.beyond > 0 then format('%s attempts failed that it has not been on', s.beyond) end),
     (case when s.attempt > s.max_attempts then format('is on attempt %s of %s', s.attempt, s.max_attempts) end),
     (case when s.attempt = s.max_attempts and s.state = 'waiting_for_retry'
           then format('waits for a retry after attempt %s of %s', s.attempt, s.max_attempts) end),
     (case when case s.attempt when 0 then s.state not in ('pending', 'cancelled') else s.state = 'pending' end
           then format('is %s with attempt %s', s.state, s.attempt) end),
     (case when case when s.has_result then s.state not in ('complete', 'resolved') else s.state = 'complete' end
           then format('is %s %s a result', s.state, case when s.has_result then 'with' else 'without' end) end),
     (case when s.finished_at is null and s.state in ('complete', 'error', 'cancelled', 'resolved')
           then format('is %s, but not since when', s.state) end)
   ) as v (details)
   where v.details is not null
  union all
  select 'one outcome', s.task_id, s.name, format('is on attempt %s after a permanent failure that nobody retried', s.attempt)
    from attempts s
   where s.tried_in_vain
     and not exists (select from stepwell.task_events e where e.task_id = s.task_id and e.kind = 'retry')
  union all
  select 'one outcome', a.task_id, null, format('attempt %s of step %s failed, but there is no such step', a.attempt, a.position)
    from stepwell.step_attempts a
   where not exists (select from stepwell.steps s where s.task_id = a.task_id and s.position = a.position)
$$;

-- Invariants 2 and 3: steps against the messages, claims and timers that move them.
create function stepwell.check_messages()
returns table (invariant text, task_id uuid, step text, details text)
language sql stable as $$
  -- Grouped, not joined: whatever the planner believes of how many steps are enqueued, it reads both sides once.
  with moving as materialized (
    select e.task_id, e.position, e.attempt, bool_or(e.place is null) as enqueued, count(e.place) as times,
           string_agg(e.place, ', ' order by e.place) as places
      from (select m.place, m.task_id, m.position, m.attempt
              from stepwell.messages_in_flight() m
             where m.task_id is not null and m.position is not null and m.attempt is not null
            union all
            select null, s.task_id, s.position, s.attempt from stepwell.steps s where s.state = 'enqueued') e
     group by e.task_id, e.position, e.attempt
  )
  select 'nothing lost', m.task_id, s.name, format('is enqueued (attempt %s) but in no queue and no claim', m.attempt)
    from moving m
    left join stepwell.steps s on s.task_id = m.task_id and s.position = m.position
   where m.enqueued and m.times = 0
  union all
  select 'one outcome', m.task_id, s.name, format('attempt %s is on its way %s times: %s', m.attempt, m.times, m.places)
    from moving m
    left join stepwell.steps s on s.task_id = m.task_id and s.position = m.position
   where m.times > 1
  union all
  -- Not so for messages: queues can hold anything, and what nobody can use is dropped or buried when it is read.
  select 'one outcome', u.task_id, s.name,
         format('claim %s holds attempt %s, the step is on %s', c.claim_id, u.attempt, s.attempt)
    from stepwell.claims c
   cross join unnest(c.task_ids, c.positions, c.attempts) as u (task_id, position, attempt)
    left join stepwell.steps s on s.task_id = u.task_id and s.position = u.position
   where (u.attempt between 1 and s.attempt) is not true
  union all
  select 'one outcome', null, null, format('claim %s holds nothing', c.claim_id)
    from stepwell.claims c where cardinality(c.task_ids) = 0
  union all
  -- Timers of steps that do not wait are no violation: they are dropped when they are due.
  select 'nothing lost', s.task_id, s.name, format('waits for a retry without a timer at %s', s.run_at)
    from stepwell.steps s
    left join stepwell.step_timers t on t.task_id = s.task_id and t.position = s.position and t.due_at = s.run_at
   where s.state = 'waiting_for_retry' and t.task_id is null
  union all
  select 'nothing lost', k.task_id, s.name,
         format('attempt %s waits for the key %s, of which nobody is admitted and which nobody touched', k.attempt, k.key)
    from stepwell.keyed_steps k
    left join stepwell.steps s on s.task_id = k.task_id and s.position = k.position
   where not k.admitted
     and not exists (select from stepwell.touched_keys t where t.namespace = k.namespace and t.key = k.key)
     and not exists (select from stepwell.keyed_steps a where a.namespace = k.namespace and a.key = k.key and a.admitted)
  union all
  select 'nothing lost', k.task_id, s.name, format('holds a place of the key %s, but is %s with attempt %s', k.key, s.state, s.attempt)
    from stepwell.keyed_steps k
    left join stepwell.steps s on s.task_id = k.task_id and s.position = k.position
   where (s.state = 'enqueued' and s.attempt = k.attempt) is not true
  union all
  select 'nothing lost', k.task_id, null, format('its idempotency key %s is settled, but it is nowhere', k.idempotency_key)
    from stepwell.idempotency_keys k
    left join stepwell.tasks t on t.task_id = k.task_id
    left join (select stepwell.as_uuid(q.message ->> 'task_id') as task_id from pgmq.q_task_requests q
               union
               select stepwell.as_uuid(d.message ->> 'task_id') from stepwell.dead_letters d
                where d.queue = 'task_requests') m on m.task_id = k.task_id
   where t.task_id is null and m.task_id is null
$$;

-- Invariants 3 and 4: each task against its steps.
create function stepwell.check_tasks()
returns table (invariant text, task_id uuid, step text, details text)
language sql stable as $$
  with totals as materialized (
    select t.task_id, t.state, t.steps_remaining, t.steps_failed, t.finished_at, t.error is not null as has_reason,
           t.workflow_id, count(s.position) as steps,
           count(*) filter (where s.state not in ('complete', 'resolved')) as open,
           count(*) filter (where s.state not in ('complete', 'resolved', 'cancelled')) as unfinished,
           count(*) filter (where s.state = 'cancelled') as cancelled,
           count(*) filter (where s.state = 'error') as failed,
           count(*) filter (where s.state in ('enqueued', 'waiting_for_retry')) as movable
      from stepwell.tasks t
      left join stepwell.steps s on s.task_id = t.task_id
     group by t.task_id
  ), defined as (
    select w.workflow_id, count(*) as steps from stepwell.workflow_steps w group by w.workflow_id
  )
  select v.invariant, t.task_id, null, v.details
    from totals t
    left join defined d on d.workflow_id = t.workflow_id
    left join stepwell.unvalidated_tasks u on u.task_id = t.task_id
   cross join lateral (values
     ('nothing lost', case when t.state = 'in_progress' and t.movable = 0
        then 'is in progress but no step of it can move' end),
     ('nothing lost', case when t.state = 'error' and t.movable > 0
        then format('is in error but %s of its steps can move', t.movable) end),
     ('nothing lost', case when t.state = 'error' and t.failed = 0 and not t.has_reason
        then 'is in error without a reason' end),
     ('nothing lost', case when t.state = 'pending' and u.task_id is null
        then 'is pending, but nobody will check its context' end),
     ('nothing lost', case when t.steps < d.steps and (t.steps > 0 or not t.has_reason)
        then format('has %s of the %s steps of its workflow', t.steps, d.steps) end),
     ('counters', case when t.steps > 0 and t.steps_remaining <> t.open
                         or (t.steps_remaining = 0) <> (t.state in ('complete', 'resolved'))
        then format('steps_remaining is %s, open steps %s, state %s', t.steps_remaining, t.open, t.state) end),
     ('counters', case when t.state in ('pending', 'in_progress', 'error') and t.steps_failed <> t.failed
        then format('steps_failed is %s, steps in error %s', t.steps_failed, t.failed) end),
     ('counters', case when t.state in ('complete', 'cancelled', 'resolved') and t.unfinished > 0
        then format('is %s, but %s of its steps are not finished', t.state, t.unfinished) end),
     ('counters', case when t.state <> 'cancelled' and t.cancelled > 0
        then format('is %s, but %s of its steps are cancelled', t.state, t.cancelled) end),
     ('counters', case when (t.finished_at is null) <> (t.state in ('pending', 'in_progress'))
        then format('is %s, finished at %s', t.state, coalesce(t.finished_at::text, 'no time')) end)
   ) as v (invariant, details)
   where v.details is not null
  union all
  select 'nothing lost', s.task_id, s.name, 'is a step of no task'
    from stepwell.steps s where not exists (select from stepwell.tasks t where t.task_id = s.task_id)
  union all
  select 'one outcome', null, null, format('%s tasks of %s/%s have the idempotency key %s',
                                           count(*), w.namespace, w.name, t.idempotency_key)
    from stepwell.tasks t join stepwell.workflows w on w.workflow_id = t.workflow_id
   where t.idempotency_key is not null
   group by w.namespace, w.name, t.idempotency_key
  having count(*) > 1
$$;

-- The history checker: proves the invariants of ARCHITECTURE.md on whatever the database holds, one row a violation.
-- Reads in one snapshot, takes no locks, may run at any time. Called by: tests after every run, people.
create function stepwell.check_invariants()
returns table (invariant text, task_id uuid, step text, details text)
language sql stable as $$
  select * from stepwell.check_dependencies()
  union all
  select * from stepwell.check_attempts()
  union all
  select * from stepwell.check_messages()
  union all
  select * from stepwell.check_tasks()
$$;
