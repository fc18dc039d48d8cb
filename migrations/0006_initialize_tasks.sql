-- Hop 2 of 5: turns requests into tasks with steps and enqueues the root steps; then fills the queues with what waits for
-- its turn.
-- Called by: the orchestrator's request loop. p_batch: at most this many requests, and as many steps to fill up with.
-- p_traced: whether to return the trace contexts that came with requests. p_worker_id: a worker beside the orchestrator: up to
-- p_take root steps of p_namespaces, before which no others wait for a place in a queue, come back claimed for it for p_lease, as
-- claim_steps returns them; of several requests only where it takes several. How many may pass what stands in the queues is the
-- worker's business. The last row has the outcome, and nulls where there is no step.
-- Locks: the messages it pops (SKIP LOCKED), then as dispatch_steps. Tasks: -> in_progress, pending (to be validated) or error
-- (rejected). Steps: -> enqueued (roots) or pending.
create function stepwell.initialize_tasks(
  p_batch integer, p_traced boolean default false, p_worker_id text default null, p_namespaces text[] default '{}',
  p_take integer default 0, p_lease interval default null)
returns table (popped integer, initialized integer, rejected integer, unvalidated integer, dead integer,
               namespaces text[], finished uuid[], traces text,
               claim_id bigint, task_id uuid, step smallint, attempt smallint, max_attempts smallint,
               workflow_id integer, context text, results text, correlation_id text, trace_context text, waited_ms bigint)
language plpgsql as $$
declare
  v_messages jsonb[];
  v_times    timestamptz[];
  v_task     uuid;
  v_one      record;
  v_wait     boolean;
  v_placed   record;
  v_claimed  stepwell.claimed_step;
  v_outcome  record;
begin
  select m.messages, m.times into v_messages, v_times from stepwell.pop_requests(p_batch) m;
  if v_messages is null then
    -- unvalidated: also what an orchestrator left that died before it could check them
    return query select 0, 0, 0, (select count(*)::integer from (select from stepwell.unvalidated_tasks limit 1) u), 0,
                        '{}'::text[], '{}'::uuid[], null::text, (null::stepwell.claimed_step).*;
    return;
  end if;
  if cardinality(v_messages) = 1 then
    v_task := (stepwell.read_task_ids(v_messages))[1];
    v_one := stepwell.initialize_one(v_messages[1], v_task, v_times[1]);
    if v_one.roots is not null then
      v_wait := stepwell.steps_wait();
      v_placed := stepwell.place_steps(v_one.namespace, v_task, v_one.roots, p_namespaces, p_take, v_wait, true);
      if v_wait or cardinality(v_placed.namespaces) > 0 then
        v_placed.namespaces := v_placed.namespaces || (stepwell.dispatch_steps(p_batch)).namespaces;
      end if;
      for v_nth in 1 .. greatest(cardinality(v_placed.handed), 1) loop
        if v_nth <= cardinality(v_placed.handed) then
          v_claimed := stepwell.claim_step(v_one.namespace, v_task, v_placed.handed[v_nth], 1::smallint, stepwell.now(),
                                           p_worker_id, p_lease);
        end if;
        return query select 1, 1, 0, 0, 0, v_placed.namespaces, '{}'::uuid[],
                            case when p_traced then stepwell.request_traces(v_messages) end, (v_claimed).*;
      end loop;
      return;
    end if;
  end if;
  select * into v_outcome
    from stepwell.initialize_requests(v_messages, v_times, p_namespaces, case when p_take > 1 then p_take else 0 end);
  if v_outcome.handed_task_ids is not null then
    perform stepwell.count_steps(v_outcome.handed_namespace, cardinality(v_outcome.handed_task_ids));
    return query
      select null::integer, null::integer, null::integer, null::integer, null::integer, null::text[], null::uuid[], null::text, c.*
        from stepwell.claim_named(v_outcome.handed_namespace, v_outcome.handed_task_ids, v_outcome.handed_positions,
                                  array_fill(1::smallint, array[cardinality(v_outcome.handed_task_ids)]), null, p_worker_id,
                                  p_lease) c;
  end if;
  return query
    select v_outcome.popped, v_outcome.initialized, v_outcome.rejected, v_outcome.unvalidated, v_outcome.dead,
           v_outcome.namespaces || d.namespaces, v_outcome.finished,
           case when p_traced then stepwell.request_traces(v_messages) end, (null::stepwell.claimed_step).*
      from stepwell.dispatch_steps(p_batch) d;
end
$$;

-- Hops 1 to 3 in one, for a client beside an orchestrator and a worker that finds the queues of p_namespaces empty: what
-- submit_tasks does with one request, and initialize_tasks with it, when no other waits and its task is small. Any other request
-- stands in the queue then, popped is 0, and nothing is known of it but submitted, the id of its task, and created.
-- p_request: one of those that submit_tasks takes, with a task_id. Called by: such clients. Locks: as submit_tasks.
create function stepwell.begin_task(
  p_request jsonb, p_traced boolean, p_worker_id text, p_namespaces text[], p_take integer, p_lease interval)
returns table (submitted uuid, created boolean, popped integer, initialized integer, rejected integer, unvalidated integer,
               dead integer, namespaces text[], finished uuid[], traces text,
               claim_id bigint, task_id uuid, step smallint, attempt smallint, max_attempts smallint,
               workflow_id integer, context text, results text, correlation_id text, trace_context text, waited_ms bigint)
language plpgsql as $$
declare
  v_task    uuid := (p_request ->> 'task_id')::uuid;
  v_settled record;
  v_new     boolean := true;
  v_one     record;
  v_placed  record;
  v_claimed stepwell.claimed_step;
begin
  submitted := v_task;
  created := true;
  if p_request ? 'idempotency_key' then
    v_settled := stepwell.settle_keys(array[p_request], array[v_task]);
    submitted := v_settled.task_ids[1];
    created := v_settled.created[1];
    v_new := v_settled.requests is not null;
  end if;
  if v_new then
    if (select q.msg_id from pgmq.q_task_requests q order by q.msg_id limit 1) is null then
      -- More steps than these take so long that the client is better off without.
      v_one := stepwell.initialize_one(p_request, v_task, stepwell.now(), 100);
      if v_one.roots is not null then
        perform stepwell.skip_task_requests(1); -- as count_steps
        v_placed := stepwell.place_steps(v_one.namespace, v_task, v_one.roots, p_namespaces, p_take, true, true);
        if cardinality(v_placed.namespaces) > 0 then
          v_placed.namespaces := v_placed.namespaces || (stepwell.dispatch_steps(100)).namespaces;
        end if;
        for v_nth in 1 .. greatest(cardinality(v_placed.handed), 1) loop
          if v_nth <= cardinality(v_placed.handed) then
            v_claimed := stepwell.claim_step(v_one.namespace, v_task, v_placed.handed[v_nth], 1::smallint, stepwell.now(),
                                             p_worker_id, p_lease);
          end if;
          return query select v_task, true, 1, 1, 0, 0, 0, v_placed.namespaces, '{}'::uuid[],
                              case when p_traced then stepwell.request_traces(array[p_request]) end, (v_claimed).*;
        end loop;
        return;
      end if;
    end if;
    perform stepwell.send_task_requests(array[p_request]);
  end if;
  return query select submitted, created, 0, 0, 0, 0, 0, '{}'::text[], '{}'::uuid[], null::text,
                      (null::stepwell.claimed_step).*;
end
$$;

-- The requests that came with a trace context, as initialize_tasks tells them: a JSON array of objects.
create function stepwell.request_traces(p_messages jsonb[]) returns text
language sql immutable as $$
  select jsonb_agg(jsonb_build_object(
           'task_id', m -> 'task_id', 'workflow', m -> 'workflow',
           'traceparent', m #> '{trace_context,traceparent}', 'tracestate', m #> '{trace_context,tracestate}'))::text
    from unnest(p_messages) m
   where jsonb_typeof(m #> '{trace_context,traceparent}') = 'string'
$$;

-- Whether another orchestrator makes tasks while steps of others wait for a place in their queues: then nobody is helped by more
-- tasks at a time, and a step that has to wait for its place costs more. Takes an advisory lock until the commit, and waits for
-- none. Called by: pop_requests.
create function stepwell.others_initialize() returns boolean
language plpgsql as $$
begin
  return not pg_try_advisory_xact_lock(1936029042, 1) and stepwell.steps_wait();
end
$$;

-- Takes up to p_batch requests and deletes them: half of them the oldest, and, when there are more than that, the oldest of
-- each namespace in equal shares, so that a namespace that floods the queue does not hold up another. None when they are left to
-- another orchestrator.
-- Called by: initialize_tasks, in a statement of its own, as pop_messages. Locks: the messages (SKIP LOCKED).
create function stepwell.pop_requests(p_batch integer, out messages jsonb[], out times timestamptz[])
language plpgsql as $$
declare
  v_shared record;
begin
  if stepwell.others_initialize() then
    return;
  end if;
  select m.messages, m.times into messages, times from stepwell.pop_task_requests((p_batch + 1) / 2) m;
  if coalesce(cardinality(messages), 0) < (p_batch + 1) / 2 or p_batch < 2 then
    return;
  end if;
  if (select split_part(q.message ->> 'workflow', '/', 1) from pgmq.q_task_requests q
       order by split_part(q.message ->> 'workflow', '/', 1), q.msg_id limit 1)
     is not distinct from (select split_part(q.message ->> 'workflow', '/', 1) from pgmq.q_task_requests q
                            order by split_part(q.message ->> 'workflow', '/', 1) desc, q.msg_id desc limit 1) then
    select m.messages, m.times into v_shared from stepwell.pop_task_requests(p_batch / 2) m; -- there is but one
    messages := messages || v_shared.messages;
    times := times || v_shared.times;
    return;
  end if;
  with recursive namespaces as (
    (select split_part(q.message ->> 'workflow', '/', 1) as namespace from pgmq.q_task_requests q
      order by split_part(q.message ->> 'workflow', '/', 1), q.msg_id limit 1)
    union all
    select (select split_part(q.message ->> 'workflow', '/', 1) from pgmq.q_task_requests q
             where split_part(q.message ->> 'workflow', '/', 1) > n.namespace
             order by split_part(q.message ->> 'workflow', '/', 1), q.msg_id limit 1)
      from namespaces n where n.namespace is not null
  ), known as (
    select n.namespace, count(*) over () as number from namespaces n where n.namespace is not null
  ), popped as (
    delete from pgmq.q_task_requests q
     where q.ctid = any (array(
       select c.ctid
         from known n
        cross join lateral (
          select o.ctid from pgmq.q_task_requests o
           where split_part(o.message ->> 'workflow', '/', 1) = n.namespace and o.vt <= clock_timestamp()
           order by o.msg_id limit greatest(p_batch / 2 / n.number, 1) for update skip locked) c
        limit p_batch / 2))
    returning q.msg_id, q.message, q.enqueued_at
  )
  select array_agg(p.message order by p.msg_id) as messages, array_agg(p.enqueued_at order by p.msg_id) as times
    into v_shared from popped p;
  messages := messages || v_shared.messages;
  times := times || v_shared.times;
end
$$;

-- initialize_tasks without the queue. Which workflow each request means, and what is wrong with it: dead: no task can be made of it;
-- problem: the task is made, in error, so that whoever submitted it sees why. Of the root steps up to p_take are left to the
-- caller, who claims them, with attempt 1, for a worker of p_takers: handed_*, null when there are none.
-- Called by: initialize_tasks, cancel_task (for a task still in the queue).
create function stepwell.initialize_requests(
  p_messages jsonb[], p_times timestamptz[], p_takers text[] default '{}', p_take integer default 0)
returns table (popped integer, initialized integer, rejected integer, unvalidated integer, dead integer,
               namespaces text[], finished uuid[], handed_namespace text, handed_task_ids uuid[], handed_positions smallint[])
language plpgsql as $$
declare
  v_task_ids   uuid[] := stepwell.read_task_ids(p_messages);
  v_boost      interval := (select d.boost from stepwell.dispatch_settings d);
  v_made       record;
  v_handed     integer := 0;
  v_namespaces text[];
  v_new        record;
begin
  begin
    with known as materialized (
      select * from stepwell.requested_workflows(p_messages)
    ), requests as materialized (
      select r.message, r.enqueued_at, r.task_id, k.workflow_id, k.steps, k.concurrency_key, r.enqueued_at + k.timeout as deadline,
             coalesce(stepwell.priority_level(r.message ->> 'priority'), k.priority) as priority,
             k.schema_digest is not null and r.message ->> 'validated' is distinct from k.schema_digest as unvalidated,
             case when jsonb_typeof(r.message) is distinct from 'object' then 'the request is not a JSON object'
                  when r.task_id is null then 'the request has no usable task_id, a uuid of version 7'
                  when k.workflow_id is null then pg_catalog.format('unknown workflow %s%s', r.message -> 'workflow',
                    coalesce(' version ' || (r.message -> 'version')::text, '')) end as dead,
             case when jsonb_typeof(r.message -> 'context') <> 'object' then 'the context is not a JSON object'
                  when not r.message ? 'validated' and stepwell.is_too_deep(r.message -> 'context')
                  then 'the context is nested more than 100 deep'
                  when r.message ? 'priority' and r.message -> 'priority' <> 'null'
                       and stepwell.priority_level(r.message ->> 'priority') is null
                  then pg_catalog.format('priority %s is none of low, normal, high, urgent or -10..10', r.message -> 'priority')
             end as problem
        -- by id: a submit that was repeated can be in another's batch too, and both insert in one order
        from (select * from unnest(p_messages, p_times, v_task_ids) as u (message, enqueued_at, task_id) order by u.task_id) r
        left join known k on k.workflow = r.message ->> 'workflow' and k.version is not distinct from r.message ->> 'version'
    ), buried as (
      insert into stepwell.dead_letters (queue, message, reason, enqueued_at, buried_at)
      select 'task_requests', r.message, r.dead, r.enqueued_at, stepwell.now() from requests r where r.dead is not null
      returning queue
    ), inserted as (
      insert into stepwell.tasks
             (task_id, created_at, finished_at, deadline, workflow_id, steps_remaining, state, priority,
              idempotency_key, concurrency_key, correlation_id, tags, error, trace_context, context)
      select r.task_id, r.enqueued_at, case when r.problem is not null then stepwell.now() end, r.deadline, r.workflow_id, r.steps,
             case when r.problem is not null then 'error'::stepwell.task_state
                  when r.unvalidated then 'pending' else 'in_progress' end,
             r.priority, r.message ->> 'idempotency_key',
             case when r.concurrency_key is not null
                  then stepwell.concurrency_key(r.concurrency_key, coalesce(r.message -> 'context', '{}')) end,
             r.message ->> 'correlation_id',
             case when jsonb_typeof(r.message -> 'tags') = 'array'
                  then (select array_agg(t) filter (where t is not null) from jsonb_array_elements_text(r.message -> 'tags') t) end,
             r.problem, r.message -> 'trace_context', coalesce(r.message -> 'context', '{}')
        from requests r
       where r.dead is null
      returning tasks.task_id, tasks.workflow_id, tasks.state, tasks.deadline, tasks.created_at, tasks.priority,
                tasks.concurrency_key
    ), timed as (
      insert into stepwell.task_deadlines (due_at, task_id)
      select i.deadline, i.task_id from inserted i where i.deadline is not null and i.state <> 'error'
    ), noted as (
      insert into stepwell.unvalidated_tasks (task_id)
      select i.task_id from inserted i where i.state = 'pending'
    ), defined as materialized (
      select distinct on (k.workflow_id) k.workflow_id, k.namespace, k.roots, k.defined from known k
    ), stepped as (
      insert into stepwell.steps
             (task_id, position, name, state, waiting_on, attempt, max_attempts, depends_on, dependents)
      select i.task_id, s.position, s.name,
             case when s.depends_on is null and i.state = 'in_progress' then 'enqueued'::stepwell.step_state else 'pending' end,
             coalesce(cardinality(s.depends_on), 0),
             case when s.depends_on is null and i.state = 'in_progress' then 1 else 0 end,
             s.max_attempts, s.depends_on, s.dependents
        from inserted i
        join defined d using (workflow_id)
       cross join unnest(d.defined) s
       where i.state <> 'error'
    ), roots as ( -- from the definitions, not from what was inserted: nothing is looked up
      select array_agg(r.namespace) as namespaces, array_agg(r.task_id) as task_ids,
             array_agg(r.position) as positions, array_agg(1::smallint) as attempts, array_agg(r.created_at) as times,
             array_agg(r.priority) as priorities, array_agg(r.concurrency_key) as keys
        from (select d.namespace, i.task_id, p.position, i.created_at, i.priority, i.concurrency_key
                from inserted i
                join defined d using (workflow_id)
               cross join unnest(d.roots) as p (position)
               where i.state = 'in_progress'
               order by stepwell.dispatch_at(i.created_at, i.priority, v_boost), i.task_id, p.position) r
    ), counts as (
      select count(*) filter (where i.state = 'in_progress')::integer as initialized,
             count(*) filter (where i.state = 'pending')::integer as unvalidated,
             coalesce(array_agg(i.task_id) filter (where i.state = 'error'), '{}') as rejected
        from inserted i
    )
    select *, (select count(*)::integer from buried) as dead into v_made from roots, counts;
  exception when unique_violation then
    -- A submit that was repeated after its commit. To look for such before each insert would take as long as the insert.
    select array_agg(r.message order by r.nth) as messages, array_agg(r.enqueued_at order by r.nth) as times into v_new
      from unnest(p_messages, p_times, v_task_ids) with ordinality as r (message, enqueued_at, task_id, nth)
     where r.task_id is null
        or (array_position(v_task_ids, r.task_id) = r.nth
            and not exists (select from stepwell.tasks t where t.task_id = r.task_id));
    if cardinality(v_new.messages) = cardinality(p_messages) then
      raise;
    end if;
    return query
      select cardinality(p_messages), coalesce(max(i.initialized), 0), coalesce(max(i.rejected), 0),
             coalesce(max(i.unvalidated), 0), coalesce(max(i.dead), 0), coalesce(max(i.namespaces), '{}'),
             coalesce(max(i.finished), '{}'), max(i.handed_namespace), max(i.handed_task_ids), max(i.handed_positions)
        from stepwell.initialize_requests(v_new.messages, v_new.times, p_takers, p_take) i where v_new.messages is not null;
    return;
  end;

  if p_take > 0 and v_made.namespaces[1] = any (p_takers) and v_made.namespaces[1] = all (v_made.namespaces)
     and stepwell.may_bypass_queue(v_made.namespaces[1], true)
     and not exists (select from stepwell.ready_steps r where r.namespace = v_made.namespaces[1]) then
    handed_namespace := v_made.namespaces[1];
    handed_task_ids := v_made.task_ids[:p_take];
    handed_positions := v_made.positions[:p_take];
    v_handed := cardinality(handed_task_ids);
  end if;
  if cardinality(v_made.task_ids) > v_handed then
    v_namespaces := stepwell.enqueue_steps(
      v_made.namespaces[v_handed + 1:], v_made.task_ids[v_handed + 1:], v_made.positions[v_handed + 1:],
      v_made.attempts[v_handed + 1:], v_made.times[v_handed + 1:], v_made.priorities[v_handed + 1:], v_made.keys[v_handed + 1:]);
  end if;
  return query select cardinality(p_messages), v_made.initialized, cardinality(v_made.rejected), v_made.unvalidated, v_made.dead,
                      coalesce(v_namespaces, '{}'), v_made.rejected, handed_namespace, handed_task_ids, handed_positions;
end
$$;

-- The workflows that requests name, and their steps, each looked up once, not once a request. schema_digest: what contexts must have
-- been checked against; null: nothing. roots: the steps that depend on none. Called by: initialize_requests. Takes no locks.
create type stepwell.defined_step as (
  "position" smallint, name text, max_attempts smallint, depends_on smallint[], dependents smallint[]);

create function stepwell.requested_workflows(p_messages jsonb[])
returns table (workflow text, version text, workflow_id integer, namespace text, steps smallint, timeout interval,
               priority smallint, concurrency_key text[], schema_digest text, roots smallint[],
               defined stepwell.defined_step[])
language sql stable as $$
  select n.workflow, n.version, k.workflow_id, k.namespace, k.steps, k.timeout, k.priority, k.concurrency_key, k.schema_digest,
         array(select s.position from stepwell.workflow_steps s
                where s.workflow_id = k.workflow_id and s.depends_on is null order by s.position),
         array(select row(s.position, s.name, s.max_attempts, s.depends_on, s.dependents)::stepwell.defined_step
                 from stepwell.workflow_steps s where s.workflow_id = k.workflow_id order by s.position)
    from (select distinct m ->> 'workflow' as workflow, m ->> 'version' as version from unnest(p_messages) m) n
   cross join lateral (
     select w.*, case when w.input_schema is not null then w.digest end as schema_digest
       from stepwell.workflows w
      where w.namespace = split_part(n.workflow, '/', 1) and w.name = split_part(n.workflow, '/', 2)
        and w.namespace || '/' || w.name = n.workflow -- and nothing behind a second slash
        and w.version = coalesce(n.version, w.version)
      order by w.workflow_id desc limit 1) k
$$;

-- What initialize_requests does, for the usual one alone: a good request for a new task, its context checked. roots: its first
-- steps, enqueued with attempt 1, for which the caller has to find a place; null for any other request, of which nothing is
-- changed, and for a task of more than p_most steps. What sets up a statement for many takes longer than all that is done for one.
-- Called by: initialize_tasks, begin_task.
create function stepwell.initialize_one(
  p_message jsonb, p_task_id uuid, p_time timestamptz, p_most integer default null, out namespace text, out roots smallint[])
language plpgsql as $$
declare
  v_priority smallint;
  v_context  jsonb := coalesce(p_message -> 'context', '{}');
  v_workflow stepwell.workflows;
begin
  if coalesce(p_message -> 'priority', 'null') <> 'null' then
    v_priority := stepwell.priority_level(p_message ->> 'priority');
    if v_priority is null then
      return;
    end if;
  end if;
  if p_task_id is null or jsonb_typeof(v_context) <> 'object'
     or (not p_message ? 'validated' and stepwell.is_too_deep(v_context)) then
    return;
  end if;
  select w.* into v_workflow
    from stepwell.workflows w
   where w.namespace = split_part(p_message ->> 'workflow', '/', 1) and w.name = split_part(p_message ->> 'workflow', '/', 2)
     and w.namespace || '/' || w.name = p_message ->> 'workflow'
     and w.version = coalesce(p_message ->> 'version', w.version)
   order by w.workflow_id desc limit 1;
  if not found or v_workflow.steps > p_most
     or (v_workflow.input_schema is not null and p_message ->> 'validated' is distinct from v_workflow.digest) then
    return;
  end if;
  insert into stepwell.tasks as t
         (task_id, created_at, deadline, workflow_id, steps_remaining, state, priority, idempotency_key, concurrency_key,
          correlation_id, tags, trace_context, context)
  values (p_task_id, p_time, p_time + v_workflow.timeout, v_workflow.workflow_id, v_workflow.steps, 'in_progress',
          coalesce(v_priority, v_workflow.priority), p_message ->> 'idempotency_key',
          case when v_workflow.concurrency_key is not null
               then stepwell.concurrency_key(v_workflow.concurrency_key, v_context) end, p_message ->> 'correlation_id',
          case when jsonb_typeof(p_message -> 'tags') = 'array'
               then (select array_agg(g) filter (where g is not null) from jsonb_array_elements_text(p_message -> 'tags') g) end,
          p_message -> 'trace_context', v_context)
  on conflict (task_id) do nothing;
  if not found then
    return;
  end if;
  if v_workflow.timeout is not null then
    insert into stepwell.task_deadlines (due_at, task_id) values (p_time + v_workflow.timeout, p_task_id);
  end if;
  insert into stepwell.steps (task_id, position, name, state, waiting_on, attempt, max_attempts, depends_on, dependents)
  select p_task_id, s.position, s.name, case when s.depends_on is null then 'enqueued'::stepwell.step_state else 'pending' end,
         coalesce(cardinality(s.depends_on), 0), case when s.depends_on is null then 1 else 0 end, s.max_attempts,
         s.depends_on, s.dependents
    from stepwell.workflow_steps s
   where s.workflow_id = v_workflow.workflow_id
   order by s.position;
  namespace := v_workflow.namespace;
  roots := array(select s.position from stepwell.workflow_steps s
                  where s.workflow_id = v_workflow.workflow_id and s.depends_on is null order by s.position);
end
$$;

-- Contexts that an orchestrator has to check: tasks submitted by plain SQL to a workflow with an input schema.
-- Called by: the request loop, in the transaction that then calls admit_tasks. Locks: tasks by id (SKIP LOCKED); their
-- rows guard those of unvalidated_tasks too.
create function stepwell.take_unvalidated_tasks(p_batch integer)
returns table (task_id uuid, context text, input_schema text)
language sql as $$
  select t.task_id, t.context::text, w.input_schema::text
    from stepwell.tasks t
    join stepwell.workflows w using (workflow_id)
   where t.task_id in (select u.task_id from stepwell.unvalidated_tasks u order by u.task_id limit p_batch)
   order by t.task_id
     for update of t skip locked
$$;

-- Settles unvalidated tasks: p_errors holds null for a good context, else why it is refused.
-- Called by: the request loop after take_unvalidated_tasks. Locks: tasks by id, then their steps.
-- Tasks: pending -> in_progress | error. Steps: roots -> enqueued.
create function stepwell.admit_tasks(p_task_ids uuid[], p_errors text[])
returns table (namespaces text[], finished uuid[])
language plpgsql as $$
declare
  v_roots    record;
  v_rejected uuid[];
begin
  perform from stepwell.tasks t where t.task_id = any (p_task_ids) order by t.task_id for update;
  delete from stepwell.unvalidated_tasks u where u.task_id = any (p_task_ids);
  with judged as (
    update stepwell.tasks t
       set state = case when j.error is null then 'in_progress' else 'error' end::stepwell.task_state,
           error = j.error, finished_at = case when j.error is not null then stepwell.now() end
      from unnest(p_task_ids, p_errors) as j (task_id, error)
     where t.task_id = j.task_id and t.state = 'pending'
    returning t.task_id, t.workflow_id, t.state
  ), roots as (
    update stepwell.steps s set state = 'enqueued', attempt = 1
      from judged j
     where j.state = 'in_progress' and s.task_id = j.task_id and s.waiting_on = 0 and s.state = 'pending'
    returning s.task_id, s.position, s.attempt
  )
  select array_agg(w.namespace) as namespaces, array_agg(r.task_id) as task_ids,
         array_agg(r.position) as positions, array_agg(r.attempt) as attempts,
         (select coalesce(array_agg(j.task_id), '{}') from judged j where j.state = 'error') as rejected
    into v_roots
    from roots r join judged j using (task_id) join stepwell.workflows w using (workflow_id);
  v_rejected := v_roots.rejected;
  return query select case when v_roots.task_ids is null then '{}'::text[] else stepwell.enqueue_steps(
                        v_roots.namespaces, v_roots.task_ids, v_roots.positions, v_roots.attempts) end, v_rejected;
end
$$;
