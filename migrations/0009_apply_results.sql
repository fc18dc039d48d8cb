-- Hop 5 of 5: applies what workers reported: finishes, retries and fails steps, counts down dependents, enqueues the
-- newly ready, finishes tasks; then fills the queues with what waits for its turn.
-- Called by: the orchestrator's result loop. p_batch: about this many results (pop_results), and at most as many steps to fill up
-- with.
-- p_traced: whether to return the traces that came with results.
-- Locks: the messages it pops (SKIP LOCKED), then tasks by id; their steps are guarded by that; then as dispatch_steps.
-- Fence: a result counts only for the attempt that its step is on while the step is 'enqueued'; any other is dropped
-- and counted as stale. Steps: enqueued -> complete | waiting_for_retry | error; dependents pending -> enqueued.
-- Tasks: in_progress -> complete | error. timed_out: those of the retried whose attempt took too long; errored: those of
-- the finished that are in error.
create function stepwell.apply_results(p_batch integer, p_traced boolean default false)
returns table (popped integer, completed integer, retried integer, failed integer, stale integer, dead integer,
               namespaces text[], finished uuid[], timed_out integer, errored integer, traces text)
language plpgsql as $$
declare
  v_popped  record;
  v_applied record;
begin
  select * into v_popped from stepwell.pop_results(p_batch);
  if v_popped.results is null then
    return query select 0, 0, 0, 0, 0, 0, '{}'::text[], '{}'::uuid[], 0, 0, null::text;
    return;
  end if;
  select * into v_applied from stepwell.apply_messages(v_popped.results, v_popped.times, v_popped.workers);
  return query
    select v_applied.popped, v_applied.completed, v_applied.retried, v_applied.failed, v_applied.stale, v_applied.dead,
           v_applied.namespaces || d.namespaces, v_applied.finished, v_applied.timed_out, v_applied.errored,
           case when p_traced then stepwell.result_traces(v_popped.results) end
      from stepwell.dispatch_steps(p_batch) d;
end
$$;

-- Takes messages and deletes them until they bring p_batch results, or half of that, or more by what the last one brings. Arrays
-- run in parallel, null when there is none, or when they are left to another orchestrator.
-- Called by: apply_results, in a statement of its own, as pop_messages. Locks: the messages (SKIP LOCKED).
create function stepwell.pop_results(p_batch integer, out results jsonb[], out times timestamptz[], out workers text[])
language plpgsql as $$
declare
  v_most   integer := greatest(p_batch / 32, 1); -- of small results as many are in a message
  v_number integer := 0;
  v_popped record;
  v_read   record;
begin
  if stepwell.others_apply() then
    return;
  end if;
  loop
    with locked as (
      select q.ctid, coalesce(sum(stepwell.results_in(q.message))
                                over (order by q.msg_id rows between unbounded preceding and 1 preceding), 0) as before
        from (select c.ctid, c.msg_id, c.message from pgmq.q_step_results c where c.vt <= clock_timestamp()
               order by c.msg_id limit v_most for update skip locked) q
    ), popped as (
      delete from pgmq.q_step_results q
       where q.ctid = any (array(select l.ctid from locked l where l.before < p_batch - coalesce(cardinality(results), 0)))
      returning q.msg_id, q.message, q.enqueued_at
    )
    select array_agg(p.message) as messages, array_agg(p.enqueued_at) as times into v_popped
      from (select * from popped order by msg_id) p;
    exit when v_popped.messages is null;
    select array_agg(r.result) as results, array_agg(m.enqueued_at) as times, array_agg(m.message ->> 'worker') as workers
      into v_read
      from unnest(v_popped.messages, v_popped.times) as m (message, enqueued_at)
     cross join lateral stepwell.results_of(m.message) as r (result);
    results := results || v_read.results;
    times := times || v_read.times;
    workers := workers || v_read.workers;
    v_number := v_number + cardinality(v_popped.messages);
    exit when cardinality(v_popped.messages) < v_most or cardinality(results) >= p_batch / 2;
    v_most := greatest((p_batch - cardinality(results)) * v_number / cardinality(results), 1);
  end loop;
end
$$;

-- Whether another orchestrator is applying results and can do with what has come meanwhile: it is little, and has not waited long.
-- One that takes much at a time gets further than several that take a little each, on whatever number of cores; where it is not
-- enough, or is held up, messages pile up or grow old, and others join it. Who leaves them hears of the next, or finds by
-- polling what one that has died has left. Takes an advisory lock until the commit, and waits for none. Called by: pop_results.
create function stepwell.others_apply() returns boolean
language plpgsql as $$
begin
  return not pg_try_advisory_xact_lock(1936029042, 0) and not stepwell.results_wait()
     and coalesce((select q.enqueued_at > stepwell.now() - interval '500 milliseconds'
                     from pgmq.q_step_results q order by q.msg_id limit 1), true);
end
$$;

-- What a message brings: the results of a report, or itself, as a result that somebody sent by hand.
create function stepwell.results_of(p_message jsonb) returns setof jsonb
language sql immutable as $$
  select r from jsonb_array_elements(
    case when jsonb_typeof(p_message -> 'results') = 'array' and p_message -> 'results' <> '[]' then p_message -> 'results'
         else jsonb_build_array(p_message) end) r
$$;

-- How many results_of it.
create function stepwell.results_in(p_message jsonb) returns integer
language sql immutable as $$
  select case when jsonb_typeof(p_message -> 'results') = 'array'
              then greatest(jsonb_array_length(p_message -> 'results'), 1) else 1 end
$$;

-- A result as a message of its own.
create function stepwell.with_worker(p_result jsonb, p_worker_id text) returns jsonb
language sql immutable as $$
  select case when jsonb_typeof(p_result) = 'object' and p_worker_id is not null
              then p_result || jsonb_build_object('worker', p_worker_id) else p_result end
$$;

-- Hops 4, 5 and 3 in one, for a worker that has an orchestrator in its process: what apply_results does, with what p_worker_id
-- reports instead of what stands in the queue. p_claims, p_task_ids, p_steps, p_attempts: what the results are of. p_values,
-- p_durations: when all are successes, what the handlers returned, and after how many microseconds; otherwise null, and p_results
-- are as report_results takes them. refused: as report_results returns it. Up
-- to p_take steps that come next, of p_namespaces, come back claimed for p_lease, as claim_steps returns them: of those that its
-- results made ready, and, unless there was one result alone, of those that wait for a place in a queue; how many may pass what
-- stands in the queues is the worker's business. The last row has the outcome, and nulls where there is no step.
-- Called by: such workers, who report to the queue what fails here. Locks: claims by id, then as apply_results. Raises SW008 for
-- a success whose step is not on that attempt any more.
create function stepwell.settle_results(
  p_worker_id text, p_claims bigint[], p_task_ids uuid[], p_steps smallint[], p_attempts smallint[], p_values jsonb[],
  p_durations bigint[], p_results jsonb[], p_batch integer, p_traced boolean default false, p_namespaces text[] default '{}',
  p_take integer default 0, p_lease interval default null)
returns table (refused integer[], popped integer, completed integer, retried integer, failed integer, stale integer,
               dead integer, namespaces text[], finished uuid[], timed_out integer, errored integer, traces text,
               claim_id bigint, task_id uuid, step smallint, attempt smallint, max_attempts smallint,
               workflow_id integer, context text, results text, correlation_id text, trace_context text, waited_ms bigint)
language plpgsql as $$
declare
  v_one       record;
  v_wait      boolean;
  v_placed    record;
  v_claimed   stepwell.claimed_step;
  v_taken     record;
  v_kept      record;
  v_applied   record;
  v_left      integer;
  v_share     integer;
  v_namespace text;
  v_next      record;
begin
  if cardinality(p_values) = 1 then
    v_one := stepwell.settle_one(p_worker_id, p_claims[1], p_task_ids[1], p_steps[1], p_attempts[1], p_values[1], p_durations[1]);
    if v_one.completed then
      v_wait := stepwell.steps_wait();
      v_placed := stepwell.place_steps(v_one.namespace, p_task_ids[1], v_one.ready, p_namespaces, p_take, v_wait, false);
      if v_wait or cardinality(v_placed.namespaces) > 0 then
        v_placed.namespaces := v_placed.namespaces || (stepwell.dispatch_steps(p_batch)).namespaces;
      end if;
      for v_nth in 1 .. greatest(cardinality(v_placed.handed), 1) loop
        if v_nth <= cardinality(v_placed.handed) then
          v_claimed := stepwell.claim_step(v_one.namespace, p_task_ids[1], v_placed.handed[v_nth], 1::smallint, stepwell.now(),
                                           p_worker_id, p_lease);
        end if;
        return query select '{}'::integer[], 1, 1, 0, 0, 0, 0, v_placed.namespaces, v_one.finished, 0, v_one.errored,
                            null::text, (v_claimed).*;
      end loop;
      return;
    end if;
  end if;
  select * into v_taken from stepwell.take_results(p_worker_id, p_claims, p_task_ids, p_steps, p_attempts);
  if cardinality(v_taken.refused) > 0 then
    p_task_ids := array(select p_task_ids[o] from unnest(v_taken.accepted) o);
    p_steps := array(select p_steps[o] from unnest(v_taken.accepted) o);
    p_attempts := array(select p_attempts[o] from unnest(v_taken.accepted) o);
    if p_values is not null then
      p_values := array(select p_values[o] from unnest(v_taken.accepted) o);
      p_durations := array(select p_durations[o] from unnest(v_taken.accepted) o);
    else
      p_results := array(select p_results[o] from unnest(v_taken.accepted) o);
    end if;
  end if;
  select * into v_applied
    from stepwell.apply_messages(p_results, array_fill(stepwell.now(), array[cardinality(p_task_ids)]), -- as the queue would tell
                                 array_fill(p_worker_id, array[cardinality(p_task_ids)]), p_task_ids, p_steps, p_attempts,
                                 v_taken.namespace, p_namespaces, p_take, p_values, p_durations);
  -- What comes next is claimed before dispatch, which sends what comes after it: what the results made ready, then what
  -- waits for a place in a queue, of each namespace an equal share.
  if v_applied.handed_task_ids is not null then
    perform stepwell.count_steps(v_applied.handed_namespace, cardinality(v_applied.handed_task_ids));
    return query
      select null::integer[], null::integer, null::integer, null::integer, null::integer, null::integer, null::integer,
             null::text[], null::uuid[], null::integer, null::integer, null::text, c.*
        from stepwell.claim_named(v_applied.handed_namespace, v_applied.handed_task_ids, v_applied.handed_positions,
                                  v_applied.handed_attempts, null, p_worker_id, p_lease) c;
  end if;
  v_left := p_take - coalesce(cardinality(v_applied.handed_task_ids), 0);
  v_share := greatest(v_left / greatest(cardinality(p_namespaces), 1), 1);
  if v_left > 0 and cardinality(p_claims) > 1 and exists (select from stepwell.ready_steps) then
    foreach v_namespace in array p_namespaces loop
      continue when v_left = 0 or not stepwell.may_bypass_queue(v_namespace, true);
      v_next := stepwell.take_ready_steps(v_namespace, least(v_share, v_left));
      v_left := v_left - v_next.steps;
      continue when v_next.steps = 0;
      if not stepwell.are_distinct(v_next.task_ids, v_next.positions, v_next.attempts) then
        v_next := stepwell.runnable_steps(v_namespace, null, null, v_next.task_ids, v_next.positions, v_next.attempts);
        continue when v_next.task_ids is null;
      end if;
      perform stepwell.count_steps(v_namespace, cardinality(v_next.task_ids));
      return query
        select null::integer[], null::integer, null::integer, null::integer, null::integer, null::integer, null::integer,
               null::text[], null::uuid[], null::integer, null::integer, null::text, c.*
          from stepwell.claim_named(v_namespace, v_next.task_ids, v_next.positions, v_next.attempts, null, p_worker_id,
                                    p_lease) c;
    end loop;
  end if;
  return query
    select v_taken.refused, v_applied.popped, v_applied.completed, v_applied.retried, v_applied.failed, v_applied.stale,
           v_applied.dead, v_applied.namespaces || d.namespaces, v_applied.finished, v_applied.timed_out,
           v_applied.errored, case when p_traced then stepwell.result_traces(p_results) end,
           (null::stepwell.claimed_step).*
      from stepwell.dispatch_steps(p_batch) d;
end
$$;

-- What take_results and apply_completed do, for the usual one: a success whose claim held nothing else, of a step that is on
-- that attempt; p_value: what its handler returned, after p_duration microseconds. completed: false for any other, of which nothing is changed. ready: the steps of its task that are enqueued now,
-- with attempt 1, by position, for which the caller has to find a place.
-- Called by: settle_results. Locks: the claim, the task.
create function stepwell.settle_one(
  p_worker_id text, p_claim bigint, p_task_id uuid, p_position smallint, p_attempt smallint, p_value jsonb, p_duration bigint,
  out completed boolean, out namespace text, out ready smallint[], out finished uuid[], out errored integer)
language plpgsql as $$
declare
  v_dependents smallint[];
  v_complete   boolean;
  v_ailing     boolean;
  v_keyed      boolean;
begin
  completed := false;
  delete from stepwell.claims c using stepwell.steps s
   where c.claim_id = p_claim and c.worker_id = p_worker_id and c.task_ids = array[p_task_id]
     and c.positions = array[p_position] and c.attempts = array[p_attempt]
     and s.task_id = p_task_id and s.position = p_position and s.attempt = p_attempt and s.state = 'enqueued'
  returning c.namespace, s.dependents into namespace, v_dependents;
  if not found then
    return;
  end if;
  completed := true;
  -- Before the statements that change steps, so that those see what the previous holder of the lock wrote.
  update stepwell.tasks t
     set steps_remaining = t.steps_remaining - 1,
         state = case when t.steps_remaining = 1 then 'complete' else t.state end,
         finished_at = case when t.steps_remaining = 1 then stepwell.now() else t.finished_at end
   where t.task_id = p_task_id
  returning t.state = 'complete', t.steps_failed > 0, t.concurrency_key is not null into v_complete, v_ailing, v_keyed;
  update stepwell.steps s
     set state = 'complete', result = p_value, worker_id = p_worker_id,
         started_at = stepwell.now() - p_duration * interval '1 microsecond', finished_at = stepwell.now()
   where s.task_id = p_task_id and s.position = p_position and s.attempt = p_attempt and s.state = 'enqueued';
  if not found then -- whoever had the lock has ended the attempt
    raise exception 'step % of task % has changed meanwhile', p_position, p_task_id using errcode = 'SW008';
  end if;
  if v_dependents is not null then
    with counted as (
      update stepwell.steps s
         set waiting_on = s.waiting_on - 1,
             state = case when s.waiting_on = 1 then 'enqueued' else s.state end,
             attempt = case when s.waiting_on = 1 then 1 else s.attempt end
       where s.task_id = p_task_id and s.position = any (v_dependents) and s.state = 'pending'
      returning s.position, s.state
    )
    select array_agg(c.position order by c.position) into ready from counted c where c.state = 'enqueued';
  end if;
  if v_keyed then
    perform stepwell.free_keys(array[p_task_id]);
  end if;
  finished := case when v_complete then array[p_task_id] else '{}' end;
  errored := 0;
  if v_ailing and ready is null then
    finished := finished || stepwell.settle_tasks(array[p_task_id]);
    errored := cardinality(finished);
  end if;
end
$$;

-- The results that came with a trace, as apply_results tells them: a JSON array of objects.
create function stepwell.result_traces(p_messages jsonb[]) returns text
language sql immutable as $$
  select jsonb_agg((m -> 'trace') || jsonb_build_object('task_id', m -> 'task_id', 'attempt', m -> 'attempt',
                                                        'outcome', m -> 'outcome'))::text
    from unnest(p_messages) m
   where jsonb_typeof(m -> 'trace') = 'object'
$$;

-- apply_results without the queue. What the messages are about is said beside them, or read; p_namespace: the one of all, when it
-- is known. Of the steps that become ready up to p_take are left to the caller, who claims them for a worker of p_takers:
-- handed_*, null when there are none. p_values, p_durations: instead of messages, when all are successes, as settle_results takes
-- them; raises SW008 when one of them is not of the attempt that its step is on. Called by: apply_results, settle_results, bury_message, resolve_step.
create function stepwell.apply_messages(
  p_messages jsonb[], p_times timestamptz[], p_workers text[], p_task_ids uuid[] default null,
  p_positions smallint[] default null, p_attempts smallint[] default null, p_namespace text default null,
  p_takers text[] default '{}', p_take integer default 0, p_values jsonb[] default null, p_durations bigint[] default null)
returns table (popped integer, completed integer, retried integer, failed integer, stale integer, dead integer,
               namespaces text[], finished uuid[], timed_out integer, errored integer,
               handed_namespace text, handed_task_ids uuid[], handed_positions smallint[], handed_attempts smallint[])
language plpgsql as $$
declare
  v_done       record;
  v_advanced   record;
  v_dead       integer := 0;
  v_retried    integer := 0;
  v_failed     integer := 0;
  v_timed_out  integer := 0;
  v_errored    uuid[] := '{}';
  v_namespaces text[] := '{}';
  v_line       record;
  v_handed     integer := 0;
begin
  if p_task_ids is null then
    select s.task_ids, s.positions, s.attempts into p_task_ids, p_positions, p_attempts from stepwell.read_steps(p_messages) s;
  end if;
  -- Before the statements that read steps, so that those see what the previous holder of the lock wrote.
  if p_values is null then
    perform from stepwell.tasks t where t.task_id = any (p_task_ids) order by t.task_id for update;
  else
    v_advanced := stepwell.advance_tasks(p_task_ids);
  end if;

  select * into v_done
    from stepwell.apply_completed(p_messages, p_times, p_workers, p_task_ids, p_positions, p_attempts, p_namespace, p_values,
                                  p_durations);
  if p_values is not null then
    if v_done.completed < cardinality(p_task_ids) then
      raise exception 'steps of % results have changed meanwhile', cardinality(p_task_ids) - v_done.completed
        using errcode = 'SW008';
    end if;
    v_done.finished := v_advanced.finished;
    v_done.ailing := v_advanced.ailing;
  end if;
  if v_done.task_ids is not null then
    if p_take > 0 then
      select * into v_line
        from stepwell.line_up(v_done.namespaces, v_done.task_ids, v_done.positions, v_done.attempts, p_takers, p_take);
      v_handed := v_line.handed;
    end if;
    if v_handed > 0 then
      handed_namespace := v_done.namespaces[1];
      handed_task_ids := v_line.task_ids[:v_handed];
      handed_positions := v_line.positions[:v_handed];
      handed_attempts := v_line.attempts[:v_handed];
      v_done.namespaces := v_done.namespaces[v_handed + 1:];
      v_done.task_ids := v_line.task_ids[v_handed + 1:];
      v_done.positions := v_line.positions[v_handed + 1:];
      v_done.attempts := v_line.attempts[v_handed + 1:];
    end if;
    if cardinality(v_done.task_ids) > 0 then
      v_namespaces := stepwell.enqueue_steps(v_done.namespaces, v_done.task_ids, v_done.positions, v_done.attempts);
    end if;
  end if;

  if v_done.completed < cardinality(p_task_ids) then -- the rare ones leave the common path alone
    v_dead := stepwell.bury_results(p_messages, p_times, p_workers);
    select f.retried, f.failed, f.finished, f.timed_out into v_retried, v_failed, v_errored, v_timed_out
      from stepwell.apply_failures(p_messages, p_times, p_workers) f;
  end if;
  perform stepwell.free_keys(p_task_ids);
  v_errored := v_errored || stepwell.settle_tasks(v_done.ailing);
  return query
    select cardinality(p_task_ids), v_done.completed, v_retried, v_failed,
           cardinality(p_task_ids) - v_done.completed - v_retried - v_failed - v_dead, v_dead,
           v_namespaces, v_done.finished || v_errored, v_timed_out, cardinality(v_errored),
           handed_namespace, handed_task_ids, handed_positions, handed_attempts;
end
$$;

-- Counts down the steps of tasks, one for each time that a task is named, and finishes those that have none left.
-- Called by: apply_messages, before it completes these steps: that the rows are written is their lock. Locks: tasks by id.
create function stepwell.advance_tasks(p_task_ids uuid[], out finished uuid[], out ailing uuid[])
language plpgsql as $$
begin
  with advanced as (
    update stepwell.tasks t
       set steps_remaining = t.steps_remaining - n.done,
           state = case when t.steps_remaining = n.done then 'complete' else t.state end,
           finished_at = case when t.steps_remaining = n.done then stepwell.now() else t.finished_at end
      from (select i.task_id, count(*) as done from unnest(p_task_ids) as i (task_id) group by i.task_id order by i.task_id) n
     where t.task_id = n.task_id
    returning t.task_id, t.state, t.steps_failed
  )
  select coalesce(array_agg(a.task_id) filter (where a.state = 'complete'), '{}'),
         array_agg(a.task_id) filter (where a.steps_failed > 0)
    into finished, ailing
    from advanced a;
end
$$;

-- Steps that became ready, in the order in which they may go to a worker of p_takers that takes at most p_take: the first
-- handed of them. That needs a namespace in which nothing is limited and nothing that waits comes before them.
-- Called by: apply_messages. Takes no locks.
create function stepwell.line_up(
  p_namespaces text[], p_task_ids uuid[], p_positions smallint[], p_attempts smallint[], p_takers text[], p_take integer,
  out handed integer, out task_ids uuid[], out positions smallint[], out attempts smallint[])
language plpgsql stable as $$
declare
  v_first record;
begin
  handed := 0;
  task_ids := p_task_ids;
  positions := p_positions;
  attempts := p_attempts;
  if p_namespaces[1] <> all (p_takers) or not p_namespaces[1] = all (p_namespaces)
     or not stepwell.may_bypass_queue(p_namespaces[1], false) then
    return;
  end if;
  select r.dispatch_at, r.task_id, d.boost into v_first
    from stepwell.ready_steps r, stepwell.dispatch_settings d where r.namespace = p_namespaces[1]
   order by r.dispatch_at, r.task_id, r.position, r.attempt limit 1;
  if v_first is null then
    handed := least(p_take, cardinality(p_task_ids));
    return;
  end if;
  select array_agg(o.task_id), array_agg(o.position), array_agg(o.attempt),
         least(p_take, count(*) filter (where (o.dispatch_at, o.task_id) <= (v_first.dispatch_at, v_first.task_id)))
    into task_ids, positions, attempts, handed
    from (select r.task_id, r.position, r.attempt, stepwell.dispatch_at(t.created_at, t.priority, v_first.boost) as dispatch_at
            from unnest(p_task_ids, p_positions, p_attempts) as r (task_id, position, attempt)
            join stepwell.tasks t using (task_id)
           order by dispatch_at, r.task_id, r.position) o;
end
$$;

-- A place for the steps of one task that are enqueued now, with attempt 1: the first p_take of them are left to the caller, who
-- claims them for a worker of p_takers, unless others come before them or something is limited; the rest goes to the queue.
-- p_wait: whether there may be others that come before them, of any namespace. p_new: whether their task begins with them.
-- namespaces: those whose queues got messages.
-- Called by: initialize_tasks, begin_task, settle_results.
create function stepwell.place_steps(
  p_namespace text, p_task_id uuid, p_positions smallint[], p_takers text[], p_take integer, p_wait boolean,
  p_new boolean, out handed smallint[], out namespaces text[])
language plpgsql as $$
begin
  handed := '{}';
  namespaces := '{}';
  if p_positions is null then
    return;
  end if;
  if p_take > 0 and p_namespace = any (p_takers) and stepwell.may_bypass_queue(p_namespace, p_new)
     and not (p_wait and exists (select from stepwell.ready_steps r where r.namespace = p_namespace)) then
    handed := p_positions[:p_take];
    perform stepwell.count_steps(p_namespace, cardinality(handed));
    p_positions := p_positions[p_take + 1:];
  end if;
  if cardinality(p_positions) > 0 then
    namespaces := stepwell.enqueue_steps(array_fill(p_namespace, array[cardinality(p_positions)]),
                                         array_fill(p_task_id, array[cardinality(p_positions)]), p_positions,
                                         array_fill(1::smallint, array[cardinality(p_positions)]));
  end if;
end
$$;

-- Counts steps that go past the queue of their namespace: skip_QUEUE by the namespace's name. Called by: initialize_tasks,
-- place_steps, settle_results.
create function stepwell.count_steps(p_namespace text, p_steps integer) returns void
language plpgsql as $$
begin
  execute pg_catalog.format('select stepwell.%I($1)', 'skip_' || p_namespace || '_queue') using p_steps;
end
$$;

-- The successes of a batch. Called by: apply_messages, which holds the tasks' locks; with p_values it has advanced them.
-- Returns the steps that became ready, now 'enqueued' with attempt 1, for enqueue_steps; the tasks that finished; the
-- tasks with a failed step, in which this may have been the last that moved.
create function stepwell.apply_completed(
  p_messages jsonb[], p_times timestamptz[], p_workers text[],
  p_task_ids uuid[], p_positions smallint[], p_attempts smallint[], p_namespace text, p_values jsonb[], p_durations bigint[],
  out completed integer, out namespaces text[], out task_ids uuid[], out positions smallint[],
  out attempts smallint[], out finished uuid[], out ailing uuid[])
language plpgsql as $$ -- plpgsql, because it keeps the plan of this statement and a sql function does not
begin
  with done as (
    update stepwell.steps s
       set state = 'complete', result = coalesce(r.value, r.message -> 'result', 'null'), worker_id = r.worker_id,
           started_at = r.reported_at - coalesce(r.duration * interval '1 microsecond',
                                                 stepwell.microseconds(r.message -> 'duration_us')),
           finished_at = r.reported_at
      from unnest(p_messages, p_times, p_workers, p_task_ids, p_positions, p_attempts, p_values, p_durations)
           as r (message, reported_at, worker_id, task_id, position, attempt, value, duration)
     where (r.value is not null or r.message ->> 'outcome' = 'complete') and s.task_id = r.task_id and s.position = r.position
       and s.attempt = r.attempt and s.state = 'enqueued'
    returning s.task_id, s.dependents
  ), countdown as (
    select d.task_id, p.position, count(*) as done
      from done d cross join unnest(d.dependents) as p (position)
     where p.position = any (d.dependents) -- always true; tells the planner that there are few
     group by d.task_id, p.position
  ), counted as (
    update stepwell.steps s
       set waiting_on = s.waiting_on - c.done,
           state = case when s.waiting_on = c.done then 'enqueued' else s.state end,
           attempt = case when s.waiting_on = c.done then 1 else s.attempt end
      from countdown c
     where s.task_id = c.task_id and s.position = c.position and s.state = 'pending'
    returning s.task_id, s.position, s.attempt, s.state
  ), totals as (
    select d.task_id, count(*) as done from done d where p_values is null group by d.task_id
  ), advanced as (
    update stepwell.tasks t
       set steps_remaining = t.steps_remaining - n.done,
           state = case when t.steps_remaining = n.done then 'complete' else t.state end,
           finished_at = case when t.steps_remaining = n.done then stepwell.now() else t.finished_at end
      from totals n
     where t.task_id = n.task_id
    returning t.task_id, t.state, t.steps_failed
  )
  select (select count(*)::integer from done),
         array_agg(r.namespace), array_agg(r.task_id), array_agg(r.position), array_agg(r.attempt),
         (select coalesce(array_agg(a.task_id), '{}') from advanced a where a.state = 'complete'),
         (select array_agg(a.task_id) from advanced a where a.steps_failed > 0)
    into completed, namespaces, task_ids, positions, attempts, finished, ailing
    from (select coalesce(p_namespace, (select w.namespace from stepwell.tasks t join stepwell.workflows w using (workflow_id)
                                         where t.task_id = c.task_id)) as namespace, c.task_id, c.position, c.attempt
            from counted c
           where c.state = 'enqueued'
           order by c.task_id, c.position) r;
end
$$;

-- Messages of a batch that are no results go to dead_letters. Called by: apply_messages. Returns how many.
create function stepwell.bury_results(p_messages jsonb[], p_times timestamptz[], p_workers text[]) returns integer
language plpgsql as $$
declare
  v_dead integer;
begin
  insert into stepwell.dead_letters (queue, message, reason, enqueued_at, buried_at)
  select 'step_results', stepwell.with_worker(r.message, r.worker_id),
         case when stepwell.is_result(r.message) then 'the result names no step of a task'
              else 'the message is not a result: it needs task_id, step, attempt and a known outcome' end,
         r.enqueued_at, stepwell.now()
    from unnest(p_messages, p_times, p_workers) as r (message, enqueued_at, worker_id)
   where not stepwell.is_result(r.message)
      or not exists (select from stepwell.steps s
                      where s.task_id = stepwell.as_uuid(r.message ->> 'task_id')
                        and s.position = stepwell.as_smallint(r.message ->> 'step'));
  get diagnostics v_dead = row_count;
  return v_dead;
end
$$;

-- Whether a message has the shape of a result.
create function stepwell.is_result(p_message jsonb) returns boolean
language sql immutable as $$
  select coalesce(jsonb_typeof(p_message) = 'object'
    and stepwell.as_uuid(p_message ->> 'task_id') is not null
    and stepwell.as_smallint(p_message ->> 'step') is not null
    and stepwell.as_smallint(p_message ->> 'attempt') is not null
    and p_message ->> 'outcome' in ('complete', 'retryable', 'permanent', 'timeout'), false)
$$;

-- A jsonb number of microseconds as an interval; nothing when it is no plausible one.
create function stepwell.microseconds(p_value jsonb) returns interval
language sql immutable as $$
  select case when jsonb_typeof(p_value) = 'number' and p_value::numeric between 0 and 1e15
              then p_value::bigint * interval '1 microsecond' else interval '0' end
$$;
