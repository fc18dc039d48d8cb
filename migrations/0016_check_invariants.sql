-- Which attempts of which steps are on their way: in a namespace's queue, in a claim, or in step_results.
create function stepwell.messages_in_flight()
returns table (place text, task_id uuid, "position" smallint, attempt smallint)
language plpgsql stable as $$
declare
  v_queue text;
begin
  return query
    select 'claims', u.task_id, u.position, u.attempt
      from stepwell.claims c cross join unnest(c.task_ids, c.positions, c.attempts) as u (task_id, position, attempt);
  for v_queue in select q.queue_name from pgmq.meta q where q.queue_name = 'step_results' or q.queue_name in
                   (select w.namespace || '_queue' from stepwell.workflows w)
  loop
    return query execute format(
      'select %L, stepwell.as_uuid(q.message ->> ''task_id''), stepwell.as_smallint(q.message ->> ''step''),
              stepwell.as_smallint(q.message ->> ''attempt'') from pgmq.%I q',
      v_queue, pgmq.format_table_name(v_queue, 'q'));
  end loop;
end
$$;

-- The history checker: proves the invariants of ARCHITECTURE.md on whatever the database holds, one row a violation.
-- Reads in one snapshot, takes no locks, may run at any time. Called by: tests after every run, people.
create function stepwell.check_invariants()
returns table (invariant text, task_id uuid, step text, details text)
language sql stable as $$
  -- 1. A step never starts before all its dependencies are complete or resolved.
  select 'dependencies first', s.task_id, s.name, format('is %s while %s is %s', s.state, d.name, d.state)
    from stepwell.steps s
    join stepwell.steps d on d.task_id = s.task_id and d.position = any (s.depends_on)
   where s.state not in ('pending', 'cancelled') and d.state not in ('complete', 'resolved')
  union all
  select 'dependencies first', s.task_id, s.name, format('started %s before %s finished %s', s.started_at, d.name, d.finished_at)
    from stepwell.steps s
    join stepwell.steps d on d.task_id = s.task_id and d.position = any (s.depends_on)
   where s.state = 'complete' and d.state = 'complete' and s.started_at < d.finished_at - interval '50 ms'
  union all
  -- 2. An attempt's outcome is applied at most once.
  select 'one outcome', a.task_id, s.name, format('attempt %s failed and completed', a.attempt)
    from stepwell.step_attempts a
    join stepwell.steps s on s.task_id = a.task_id and s.position = a.position
   where s.state = 'complete' and s.attempt = a.attempt
  union all
  -- 3. Nothing is lost: an enqueued step stands in its queue, in a claim, or in a result on its way.
  select 'nothing lost', s.task_id, s.name, format('is enqueued (attempt %s) but in no queue and no claim', s.attempt)
    from stepwell.steps s
   where s.state = 'enqueued'
     and not exists (select from stepwell.messages_in_flight() m
                      where m.task_id = s.task_id and m.position = s.position and m.attempt = s.attempt)
  union all
  select 'nothing lost', s.task_id, s.name, 'waits for a retry without a timer'
    from stepwell.steps s
   where s.state = 'waiting_for_retry'
     and not exists (select from stepwell.step_timers t where t.task_id = s.task_id and t.position = s.position)
  union all
  select 'nothing lost', t.task_id, null, 'is in progress but no step of it can move'
    from stepwell.tasks t
   where t.state = 'in_progress'
     and not exists (select from stepwell.steps s where s.task_id = t.task_id
                        and s.state in ('ready', 'enqueued', 'waiting_for_retry'))
  union all
  -- 4. steps_remaining = 0 <=> the task is terminal-successful; waiting_on equals the open dependencies.
  select 'counters', t.task_id, null, format('steps_remaining is %s, open steps %s, state %s', t.steps_remaining, c.open, t.state)
    from stepwell.tasks t
    cross join lateral (select count(*) filter (where s.state not in ('complete', 'resolved')) as open, count(*) as steps
                          from stepwell.steps s where s.task_id = t.task_id) c
   where (c.steps > 0 and t.steps_remaining <> c.open)
      or (t.steps_remaining = 0) <> (t.state in ('complete', 'resolved'))
  union all
  select 'counters', s.task_id, s.name, format('waiting_on is %s, open dependencies %s', s.waiting_on, d.open)
    from stepwell.steps s
    cross join lateral (select count(*) as open from stepwell.steps d
                         where d.task_id = s.task_id and d.position = any (s.depends_on)
                           and d.state not in ('complete', 'resolved')) d
   where s.waiting_on <> d.open
$$;
