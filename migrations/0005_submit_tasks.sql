-- Hop 1 of 5: asks for tasks. Plain SQL, so that it can stand in the user's own transaction:
-- commit and the tasks exist, roll back and they never did.
-- p_requests: one object a task: {workflow: "namespace/name", context: {...}, and optionally version, task_id
--   (uuid v7; made here when absent), priority (name or -10..10), idempotency_key, correlation_id, tags: [text],
--   trace_context: {traceparent, tracestate} as W3C says them (what cannot be read is ignored),
--   validated: digest of the definition that the client has checked the context against}.
-- Called by: clients. Locks: the idempotency keys it inserts, in key order.
-- Returns one row a request, in order: the id of its task, and whether this request created it (false: the
-- idempotency key had settled on that task before). Raises SW003 for a request without the required shape.
create function stepwell.submit_tasks(p_requests jsonb[])
returns table (request integer, task_id uuid, created boolean)
language plpgsql as $$
declare
  v_bad      text;
  v_requests jsonb[] := p_requests;
  v_tasks    uuid[]  := stepwell.read_task_ids(p_requests);
  v_created  boolean[];
begin
  if coalesce(cardinality(p_requests), 0) = 0 then
    return;
  end if;
  select format('request %s: %s', r.ordinality, p.problem)
    into v_bad
    from unnest(p_requests, v_tasks) with ordinality as r (request, task_id, ordinality)
   cross join lateral (
     select case
       when jsonb_typeof(r.request) is distinct from 'object' then 'must be a JSON object'
       when jsonb_typeof(r.request -> 'workflow') is distinct from 'string' then '"workflow" must be a "namespace/name" text'
       when r.task_id is null and r.request ? 'task_id' then '"task_id" must be a uuid of version 7, not made tomorrow'
       when r.request ? 'idempotency_key'
            and (jsonb_typeof(r.request -> 'idempotency_key') <> 'string' or length(r.request ->> 'idempotency_key') > 255)
       then '"idempotency_key" must be a text of at most 255 characters'
       when not r.request ? 'validated' then stepwell.request_problem(r.request) -- who has validated it has looked
     end as problem) p
   where p.problem is not null
   order by r.ordinality limit 1;
  if v_bad is not null then
    raise exception 'submit_tasks: %', v_bad using errcode = 'SW003';
  end if;

  -- A request passes through as it is; only one without an id is rewritten, or with one that is not written as PostgreSQL does:
  -- while it stands in the queue it is looked up by that text.
  if exists (select from unnest(p_requests, v_tasks) as r (request, task_id)
              where r.request ->> 'task_id' is distinct from r.task_id::text or r.task_id is null) then
    v_tasks := array(select coalesce(t, stepwell.uuid_v7()) from unnest(v_tasks) t);
    v_requests := array(select case when r.request ->> 'task_id' = r.task_id::text then r.request
                                    else r.request || jsonb_build_object('task_id', r.task_id) end
                          from unnest(p_requests, v_tasks) as r (request, task_id));
  end if;

  if exists (select from unnest(v_requests) as r (request) where r.request ? 'idempotency_key') then
    select * into v_requests, v_tasks, v_created from stepwell.settle_keys(v_requests, v_tasks);
  end if;
  if v_requests is not null then
    perform stepwell.send_task_requests(v_requests);
  end if;
  return query select t.ordinality::integer, t.task_id, coalesce(v_created[t.ordinality], true)
                 from unnest(v_tasks) with ordinality as t (task_id, ordinality);
end
$$;

-- What else is wrong with a request, an object; null when nothing is. Called by: submit_tasks. Takes no locks.
create function stepwell.request_problem(p_request jsonb) returns text
language plpgsql immutable as $$
declare
  v_known constant text[] := '{workflow,version,context,task_id,priority,idempotency_key,correlation_id,tags,trace_context,validated}';
  v_key   text := (select k from jsonb_object_keys(p_request) k where k <> all (v_known) order by k limit 1);
begin
  if v_key is not null then
    return format('unknown key "%s"; the keys are %s', v_key, array_to_string(v_known, ', '));
  end if;
  foreach v_key in array array['version', 'correlation_id'] loop
    if jsonb_typeof(p_request -> v_key) not in ('string', 'null') then
      return format('"%s" must be a text', v_key);
    end if;
  end loop;
  if jsonb_typeof(p_request -> 'tags') not in ('array', 'null')
     or exists (select from jsonb_path_query(p_request, 'strict $.tags[*]', silent => true) t where jsonb_typeof(t) <> 'string') then
    return '"tags" must be an array of texts';
  end if;
  if stepwell.is_too_deep(p_request -> 'context') then
    return '"context" is nested more than 100 deep';
  end if;
  return null;
end
$$;

-- Whether arrays and objects stand in each other more than 100 deep: not every language reads that. Clients have the same limit.
-- Called by: submit_tasks, initialize_requests, initialize_one. Takes no locks.
create function stepwell.is_too_deep(p_json jsonb) returns boolean
language sql immutable as $$
  select jsonb_path_exists(p_json, 'strict $.**{100} ? (@.type() == "object" || @.type() == "array")')
$$;

-- Settles idempotency keys: two clients that race settle on one task, because the insert waits for the other's transaction.
-- task_ids, created: as submit_tasks returns them; requests: those that won their key, or have none, and create a task; null when
-- there is none. Called by: submit_tasks, begin_task. Locks: the keys it inserts, in their order.
create function stepwell.settle_keys(
  p_requests jsonb[], p_task_ids uuid[], out requests jsonb[], out task_ids uuid[], out created boolean[])
language plpgsql as $$
declare
  v_won uuid[];
begin
  with inserted as (
    insert into stepwell.idempotency_keys as k (workflow, idempotency_key, task_id)
    select r.request ->> 'workflow', r.request ->> 'idempotency_key', r.task_id
      from unnest(p_requests, p_task_ids) with ordinality as r (request, task_id, ordinality)
     where r.request ? 'idempotency_key'
     order by 1, 2, r.ordinality
    on conflict do nothing
    returning k.task_id
  )
  select coalesce(array_agg(i.task_id), '{}') into v_won from inserted i;

  -- In a statement of its own: it sees the keys that others have won.
  select array_agg(r.request order by r.ordinality) filter (where not r.request ? 'idempotency_key' or r.task_id = any (v_won)),
         array_agg(coalesce(k.task_id, r.task_id) order by r.ordinality),
         array_agg(coalesce(k.task_id = r.task_id, true) order by r.ordinality)
    into requests, task_ids, created
    from unnest(p_requests, p_task_ids) with ordinality as r (request, task_id, ordinality)
    left join stepwell.idempotency_keys k
      on k.workflow = r.request ->> 'workflow' and k.idempotency_key = r.request ->> 'idempotency_key';
end
$$;
