-- Queues: their settings, the one place that sends step messages, and the place for messages nobody can use.

-- A queue, unless it is there: its table, its settings, and its functions (create_queue_functions).
-- Messages live for milliseconds, so vacuum must keep up by count, not by share. Nothing here looks messages up by vt, so that
-- index would only be written.
-- Called by: register_workflow, workers and this migration. Locks: the queue's name. Raises SW003 for a name that no namespace
-- gives a queue: any role that may work can call this, and the names of these functions must not meet those of others. Raises SW009
-- when pgmq has a queue of that name that is not ours: its messages are somebody else's.
create function stepwell.create_queue(p_queue text) returns void
language plpgsql as $$
begin
  if p_queue is null
     or (p_queue !~ '^[a-z][a-z0-9_]{0,39}_queue$' and p_queue not in ('task_requests', 'step_results')) then
    raise exception 'create_queue: % is not the name of a queue', coalesce(quote_literal(p_queue), 'null') using errcode = 'SW003',
      hint = 'The queue of a namespace is called NAMESPACE_queue; a namespace matches [a-z][a-z0-9_]{0,39}.';
  end if;
  if to_regprocedure(pg_catalog.format('stepwell.%I(jsonb[], integer)', 'send_' || p_queue)) is not null then
    return;
  end if;
  -- Of two that make it at once the second has waited here, and must not go on: pgmq.create would make the index again that is
  -- dropped below, and lock the table for that while others read it and send to it. Looked up in the table, because what the
  -- session knows of functions may be older than the wait.
  perform pgmq.acquire_queue_lock(p_queue);
  if exists (select from pg_catalog.pg_proc p
              where p.pronamespace = 'stepwell'::regnamespace and p.proname = ('send_' || p_queue)::name) then
    return;
  end if;
  if to_regclass(pg_catalog.format('pgmq.%I', pgmq.format_table_name(p_queue, 'q'))) is not null then
    raise exception 'the pgmq queue % is there already and is not one of Stepwell''s', p_queue using errcode = 'SW009',
      hint = pg_catalog.format('Give the namespace another name, or, if nothing uses that queue: select pgmq.drop_queue(%L)', p_queue);
  end if;
  perform pgmq.create(p_queue);
  execute pg_catalog.format(
    'alter table pgmq.%I set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
       autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
       autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,
       autovacuum_analyze_threshold = 50000, vacuum_truncate = false)',
    pgmq.format_table_name(p_queue, 'q'));
  execute pg_catalog.format('drop index if exists pgmq.%I', pgmq.format_table_name(p_queue, 'q') || '_vt_idx');
  perform stepwell.create_queue_functions(p_queue);
end
$$;

-- The functions that take messages from a queue and send them to it, with the queue's name in their text: a statement
-- with a name that changes is planned anew each time, which takes five times as long as what it does.
-- Called by: create_queue.
--
-- pop_QUEUE takes up to p_batch messages, oldest first, and deletes them: what pgmq.pop does, whose plan joins the batch
-- with the whole queue when the statistics of the queue's table are of another moment, which they are most of the time.
-- Rows by their place need no statistics. See docs/decisions/0001-pop-by-ctid.md. Both arrays are null when there is
-- none. Locks: the messages (SKIP LOCKED).
-- send_QUEUE: as pgmq.send_batch, to be seen after p_delay seconds. offer_QUEUE: unless there would be more than p_most in the
-- queue then; returns whether they were sent. count_QUEUE: how many messages there are; counts no further than p_most.
-- skip_QUEUE: uses up as many numbers of messages: those numbers tell how many steps there have been, so steps that go past the
-- queue count too.
create function stepwell.create_queue_functions(p_queue text) returns void
language plpgsql as $$
begin
  execute pg_catalog.format($f$
    create function stepwell.%2$I(p_batch integer, out messages jsonb[], out times timestamptz[])
    language plpgsql as $b$
    begin
      with popped as (
        delete from pgmq.%1$I q
         where q.ctid = any (array(select c.ctid from pgmq.%1$I c where c.vt <= clock_timestamp()
                                    order by c.msg_id limit p_batch for update skip locked))
        returning q.msg_id, q.message, q.enqueued_at)
      select array_agg(p.message), array_agg(p.enqueued_at)
        into messages, times from (select * from popped order by msg_id) p; -- sorted once, not for each array
    end
    $b$ $f$, pgmq.format_table_name(p_queue, 'q'), 'pop_' || p_queue);
  execute pg_catalog.format($f$
    create function stepwell.%2$I(p_messages jsonb[], p_delay integer default 0) returns void
    language plpgsql as $b$
    begin
      insert into pgmq.%1$I (vt, enqueued_at, message)
      select clock_timestamp() + make_interval(secs => p_delay), stepwell.now(), m from unnest(p_messages) m;
    end
    $b$ $f$, pgmq.format_table_name(p_queue, 'q'), 'send_' || p_queue);
  execute pg_catalog.format($f$
    create function stepwell.%2$I(p_messages jsonb[], p_most integer) returns boolean
    language plpgsql as $b$
    begin
      if stepwell.%3$I(p_most) + cardinality(p_messages) > p_most then
        return false;
      end if;
      insert into pgmq.%1$I (vt, enqueued_at, message) select clock_timestamp(), stepwell.now(), m from unnest(p_messages) m;
      return true;
    end
    $b$ $f$, pgmq.format_table_name(p_queue, 'q'), 'offer_' || p_queue, 'count_' || p_queue);
  execute pg_catalog.format($f$
    create function stepwell.%2$I(p_most integer) returns integer
    language plpgsql stable as $b$
    begin
      return (select count(*) from (select from pgmq.%1$I limit p_most) q);
    end
    $b$ $f$, pgmq.format_table_name(p_queue, 'q'), 'count_' || p_queue);
  execute pg_catalog.format($f$
    create function stepwell.%2$I(p_messages integer) returns void
    language plpgsql as $b$
    begin
      perform count(nextval(%1$L::regclass)) from generate_series(1, p_messages);
    end
    $b$ $f$, pg_get_serial_sequence(pg_catalog.format('pgmq.%I', pgmq.format_table_name(p_queue, 'q')), 'msg_id'),
    'skip_' || p_queue);
  execute pg_catalog.format(
    'revoke execute on function stepwell.%I, stepwell.%I, stepwell.%I, stepwell.%I, stepwell.%I from public',
    'pop_' || p_queue, 'send_' || p_queue, 'offer_' || p_queue, 'count_' || p_queue, 'skip_' || p_queue);
end
$$;

select stepwell.create_queue('task_requests');
select stepwell.create_queue('step_results');

-- A report is one message: kept in its page, as it is, not compressed and cut up in a toast table.
alter table pgmq.q_step_results set (toast_tuple_target = 8160);
alter table pgmq.q_step_results alter column message set storage main;

-- The oldest requests of a namespace, however many others stand before them (pop_requests).
create index q_task_requests_namespace
  on pgmq.q_task_requests (split_part(message ->> 'workflow', '/', 1), msg_id);

-- A task that still waits in the queue, by its id (lock_task, look-ups of clients).
create index q_task_requests_task_id on pgmq.q_task_requests ((message ->> 'task_id'));

-- Which attempts of which steps messages are about; the arrays run in parallel, null where a message does not say.
-- Called by: claim_steps, report_results, apply_messages. The texts of a batch are cast at once; when that fails, somebody
-- has put into the queue what is no message, and each is looked at alone.
create function stepwell.read_steps(
  p_messages jsonb[], out task_ids uuid[], out positions smallint[], out attempts smallint[])
language plpgsql immutable as $$
begin
  select array_agg((m.message ->> 'task_id')::uuid order by m.ordinality),
         array_agg((m.message ->> 'step')::smallint order by m.ordinality),
         array_agg((m.message ->> 'attempt')::smallint order by m.ordinality)
    into task_ids, positions, attempts
    from unnest(p_messages) with ordinality as m (message, ordinality);
exception when data_exception then
  select array_agg(stepwell.as_uuid(m.message ->> 'task_id') order by m.ordinality),
         array_agg(stepwell.as_smallint(m.message ->> 'step') order by m.ordinality),
         array_agg(stepwell.as_smallint(m.message ->> 'attempt') order by m.ordinality)
    into task_ids, positions, attempts
    from unnest(p_messages) with ordinality as m (message, ordinality);
end
$$;

-- Ids of tasks that requests bring, in their order; null where there is none that is a uuid of version 7, or one that is more
-- than a day ahead: ids sort by time, so that task would stand before all others and be kept for ever. A client's clock may be
-- hours off. Called by: submit_tasks, initialize_requests, initialize_tasks.
create function stepwell.read_task_ids(p_requests jsonb[]) returns uuid[]
language plpgsql stable as $$
declare
  v_task_ids uuid[];
  v_last     uuid := stepwell.uuid_v7_floor(clock_timestamp() + interval '1 day');
begin
  begin
    v_task_ids := array(select (r ->> 'task_id')::uuid from unnest(p_requests) r);
  exception when data_exception then
    v_task_ids := array(select stepwell.as_uuid(r ->> 'task_id') from unnest(p_requests) r);
  end;
  return array(select case when stepwell.is_v7(t) and t < v_last then t end from unnest(v_task_ids) t);
end
$$;

-- pop_QUEUE by the queue's name.
-- Called by: claim_steps, bury_message, each in a statement of its own, so that its next statement sees everything that
-- committed before the messages did.
create function stepwell.pop_messages(p_queue text, p_batch integer, out messages jsonb[], out times timestamptz[])
language plpgsql as $$
begin
  execute pg_catalog.format('select p.messages, p.times from stepwell.%I($1) p', 'pop_' || p_queue)
     into messages, times using p_batch;
end
$$;

-- send_QUEUE by the queue's name. Called by: send_steps.
create function stepwell.send_messages(p_queue text, p_messages jsonb[], p_delay integer) returns void
language plpgsql as $$
begin
  execute pg_catalog.format('select stepwell.%I($1, $2)', 'send_' || p_queue) using p_messages, p_delay;
end
$$;

-- Sends one message a step to the queues of their namespaces; arrays run in parallel. In a namespace, the first of the
-- arrays is the first in the queue.
-- Called by: enqueue_steps, dispatch_steps, release_steps. The steps must be 'enqueued' with that attempt.
create function stepwell.send_steps(
  p_namespaces text[], p_task_ids uuid[], p_positions smallint[], p_attempts smallint[], p_delay integer default 0
) returns void
language plpgsql as $$
begin
  perform stepwell.send_messages(q.namespace || '_queue', q.messages, p_delay)
     from (select e.namespace,
                  array_agg(jsonb_build_object('task_id', e.task_id, 'step', e.position, 'attempt', e.attempt)
                            order by e.ordinality) as messages
             from unnest(p_namespaces, p_task_ids, p_positions, p_attempts)
                  with ordinality as e (namespace, task_id, position, attempt, ordinality)
            group by e.namespace
            order by e.namespace) q;
end
$$;

-- Takes the oldest message of a queue out of the way when a batch of one still fails. It is tried once more, because the
-- one that failed may be in another process's hands by now, and this one be good. A message that fails goes to
-- dead_letters; the step whose it was ends in error that says why, so that nothing hangs. Of several results in one message
-- each first becomes a message.
-- Only what a message can be at fault for buries it: data (22), constraints (23), cardinality (21), limits (54), what functions
-- raise (P0, SW); with p_internal also an internal error (XX), which the caller has then met time and again. Anything else, such
-- as a lock or a statement that took too long, a missing privilege, a full disk, is raised, and the message stays.
-- What PostgreSQL says of a failure can quote the message, and texts that are stored for people hold no secrets: the caller
-- masks them. So a message that fails with anything but p_problem stays where it is, and what it fails with is returned; the
-- caller masks that and calls again, with it and, as p_reason, what is to be stored. A p_reason without a p_problem is
-- stored whatever the message fails with.
-- Called by: the orchestrator's loops and workers, after bisecting. Locks: the message, then those of the hop it belongs
-- to. Returns null when the message, if there was one, is out of the way. Raises SW003 for a queue that is not one of ours.
create function stepwell.bury_message(
  p_queue text, p_problem text default null, p_reason text default null, p_internal boolean default false) returns text
language plpgsql as $$
declare
  v_messages jsonb[];
  v_times    timestamptz[];
  v_problem  text;
  v_failure  jsonb;
begin
  perform stepwell.require_queue(p_queue);
  select m.messages, m.times into v_messages, v_times from stepwell.pop_messages(p_queue, 1) m;
  if v_messages is null then
    return null;
  end if;
  if p_queue = 'step_results' then
    v_messages := array(select stepwell.with_worker(r, v_messages[1] ->> 'worker') from stepwell.results_of(v_messages[1]) r);
    if cardinality(v_messages) > 1 then -- only one of them is bad
      perform stepwell.send_step_results(v_messages);
      return null;
    end if;
  end if;
  begin
    perform stepwell.handle_messages(p_queue, v_messages, v_times);
    return null;
  exception
    when sqlstate 'SW000' then
      perform stepwell.send_messages(p_queue, v_messages, 0); -- a step that can be claimed: it is the next worker's
      return null;
    when others then
      if left(sqlstate, 2) not in ('21', '22', '23', '54', 'P0', 'SW') and not (p_internal and left(sqlstate, 2) = 'XX') then
        raise;
      end if;
      v_problem := sqlerrm;
  end;
  if p_reason is null or v_problem <> coalesce(p_problem, v_problem) then
    raise exception using errcode = 'SW001';
  end if;
  insert into stepwell.dead_letters (queue, message, reason, enqueued_at, buried_at)
  values (p_queue, v_messages[1], p_reason, v_times[1], stepwell.now());
  v_failure := stepwell.as_failure(p_queue, v_messages[1], p_reason);
  if stepwell.is_result(v_failure) then
    perform stepwell.apply_messages(array[v_failure], v_times, array[v_failure ->> 'worker']);
  end if;
  return null;
exception
  when sqlstate 'SW001' then
    return v_problem;
end
$$;

-- Raises SW003 unless p_queue is the name of one of our queues. Called by: functions that a role may call with a queue's name.
create function stepwell.require_queue(p_queue text) returns void
language plpgsql stable as $$
begin
  if p_queue is null or to_regprocedure(pg_catalog.format('stepwell.%I(jsonb[], integer)', 'offer_' || p_queue)) is null then
    raise exception 'there is no queue %', coalesce(quote_literal(p_queue), 'null') using errcode = 'SW003',
      hint = 'The queues are task_requests, step_results, and NAMESPACE_queue for each namespace.';
  end if;
end
$$;

-- Namespaces that have a queue of ours: from the first workflow or worker on. Called by: whoever lists or checks namespaces.
create function stepwell.known_namespaces() returns setof text
language sql stable as $$
  select substring(p.proname from '^offer_(.*)_queue$')
    from pg_catalog.pg_proc p
   where p.pronamespace = 'stepwell'::regnamespace and left(p.proname, 6) = 'offer_' and right(p.proname, 6) = '_queue'
   order by 1
$$;

-- Messages that were popped, to the hop of their queue. Called by: bury_message. A claim is only tried: when it works,
-- SW000 is raised, which undoes it.
create function stepwell.handle_messages(p_queue text, p_messages jsonb[], p_times timestamptz[]) returns void
language plpgsql as $$
begin
  case p_queue
    when 'task_requests' then perform from stepwell.initialize_requests(p_messages, p_times);
    when 'step_results' then
      perform from stepwell.apply_messages(p_messages, p_times, array[p_messages[1] ->> 'worker']);
    else
      perform from stepwell.claim_messages(regexp_replace(p_queue, '_queue$', ''), '', interval '0', p_messages, p_times);
      raise exception 'the step can be claimed' using errcode = 'SW000';
  end case;
end
$$;

-- What is applied when a step's message, or its result, cannot be used; null for a request. Called by: bury_message.
create function stepwell.as_failure(p_queue text, p_message jsonb, p_why text) returns jsonb
language sql immutable as $$
  select jsonb_build_object(
    'task_id', p_message -> 'task_id', 'step', p_message -> 'step', 'attempt', p_message -> 'attempt',
    'worker', p_message -> 'worker', 'outcome', 'permanent',
    'error', jsonb_build_object('class', 'Stepwell::PermanentError') || case p_queue
      when 'step_results'
      then jsonb_build_object('code', 'INVALID_RESULT', 'message', 'the result cannot be applied: ' || p_why)
      else jsonb_build_object('code', 'CANNOT_START', 'message', 'the step cannot be started: ' || p_why) end)
   where p_queue <> 'task_requests'
$$;
