-- Registers a definition that the client has validated (no cycles, known dependencies, topological positions).
-- p_definition: {namespace, name, version, description, input_schema, priority, timeout (seconds), digest,
--   concurrency: {key: [text], limit}, steps: [{name, handler, depends_on: [position], dependents: [position], max_attempts,
--            backoff: {base, cap, jitter} (seconds), timeout (seconds), permanent_errors: [text],
--            retryable_errors: [text], config}]}
-- Called by: clients, workers and orchestrators when they start. Safe to call at any time, from any number of processes.
-- Returns the workflow's id. Raises SW002 when the version exists with other content.
create function stepwell.register_workflow(p_definition jsonb) returns integer
language plpgsql as $$
declare
  v_namespace   text := p_definition ->> 'namespace';
  v_name        text := p_definition ->> 'name';
  v_version     text := p_definition ->> 'version';
  v_digest      text := p_definition ->> 'digest';
  v_workflow_id integer;
  v_known       text;
begin
  select workflow_id, digest into v_workflow_id, v_known
    from stepwell.workflows
   where namespace = v_namespace and name = v_name and version = v_version;

  if v_workflow_id is null then
    perform stepwell.create_queue(v_namespace || '_queue');
    insert into stepwell.workflows
           (namespace, name, version, description, input_schema, priority, timeout, concurrency_key,
            concurrency_limit, steps, digest)
    values (v_namespace, v_name, v_version, p_definition ->> 'description',
            nullif(p_definition -> 'input_schema', 'null'),
            coalesce((p_definition ->> 'priority')::smallint, 0),
            make_interval(secs => (p_definition ->> 'timeout')::double precision),
            stepwell.texts(p_definition #> '{concurrency,key}'), (p_definition #>> '{concurrency,limit}')::smallint,
            jsonb_array_length(p_definition -> 'steps'), v_digest)
    on conflict (namespace, name, version) do nothing
    returning workflow_id into v_workflow_id;

    if v_workflow_id is null then -- another process was faster: compare with what it wrote
      return stepwell.register_workflow(p_definition);
    end if;

    insert into stepwell.workflow_steps
           (workflow_id, position, name, handler, depends_on, dependents, max_attempts,
            backoff_base, backoff_cap, backoff_jitter, timeout, permanent_errors, retryable_errors, config)
    select v_workflow_id, (s.ordinality - 1)::smallint, s.step ->> 'name', s.step ->> 'handler',
           stepwell.smallints(s.step -> 'depends_on'), stepwell.smallints(s.step -> 'dependents'),
           (s.step ->> 'max_attempts')::smallint,
           make_interval(secs => (s.step #>> '{backoff,base}')::double precision),
           make_interval(secs => (s.step #>> '{backoff,cap}')::double precision),
           (s.step #>> '{backoff,jitter}')::real,
           make_interval(secs => (s.step ->> 'timeout')::double precision),
           stepwell.texts(s.step -> 'permanent_errors'), stepwell.texts(s.step -> 'retryable_errors'),
           nullif(s.step -> 'config', 'null')
      from jsonb_array_elements(p_definition -> 'steps') with ordinality as s (step, ordinality);
  elsif v_known is distinct from v_digest then
    raise exception 'workflow %/% version % is registered with different content', v_namespace, v_name, v_version
      using errcode = 'SW002',
            hint = 'A version is immutable, because tasks of it may be running. Give the changed workflow a new version.';
  end if;
  return v_workflow_id;
end
$$;

-- A jsonb array of integers as smallint[]; null for an empty one, which saves its header in every step row.
create function stepwell.smallints(p_array jsonb) returns smallint[]
language sql immutable as $$
  select array_agg(value::smallint order by ordinality)
    from jsonb_array_elements_text(p_array) with ordinality
$$;

-- A jsonb array of texts as text[]; null for an empty one, or for what is no array.
create function stepwell.texts(p_array jsonb) returns text[]
language sql immutable as $$
  select array_agg(value order by ordinality)
    from jsonb_array_elements_text(case jsonb_typeof(p_array) when 'array' then p_array else '[]' end) with ordinality
$$;

-- A workflow stays as long as there are tasks of it: what a foreign key would say, without its price for every new task.
-- Called by: the trigger below, when somebody deletes by hand. Nothing of ours does.
create function stepwell.keep_used_workflow() returns trigger
language plpgsql as $$
begin
  if exists (select from stepwell.tasks t where t.workflow_id = old.workflow_id) then
    raise exception 'workflow %/% version % has tasks', old.namespace, old.name, old.version
      using errcode = 'foreign_key_violation', hint = 'Remove its tasks first, or keep it: another version does not need its place.';
  end if;
  return old;
end
$$;

create trigger keep_used_workflow before delete on stepwell.workflows
  for each row execute function stepwell.keep_used_workflow();
