-- Attempts that did not succeed: retry, failure, and when a task as a whole is in error.

-- What a failed attempt counts as: what the worker says, unless the step's policy names the error. An error is named by
-- its code, its class or a class that this one descends from, and the first of these that the policy knows decides.
create function stepwell.failure_kind(
  p_outcome text, p_error jsonb, p_permanent_errors text[], p_retryable_errors text[]
) returns text
language sql immutable as $$
  select case
    when p_permanent_errors is null and p_retryable_errors is null then p_outcome
    else coalesce((
      select case when n.name = any (p_permanent_errors) then 'permanent'
                  when p_outcome = 'permanent' then 'retryable'
                  else p_outcome end
        from (select 0 as place, p_error ->> 'code' as name
              union all
              select 1, p_error ->> 'class'
              union all
              select 1 + a.ordinality, a.name
                from jsonb_array_elements_text(case jsonb_typeof(p_error -> 'ancestors')
                       when 'array' then p_error -> 'ancestors' else '[]' end) with ordinality as a (name, ordinality)) n
       where n.name = any (p_permanent_errors) or n.name = any (p_retryable_errors)
       order by n.place limit 1), p_outcome)
  end
$$;

-- A delay as a server gives it, in seconds: a number, or a text with a number or an HTTP date (all three forms of
-- RFC 9110), which is compared with the database's clock. Null for anything else.
create function stepwell.delay_seconds(p_value jsonb) returns numeric
language plpgsql stable
set datestyle = 'ISO, DMY' as $$
declare
  v_text text := btrim(case jsonb_typeof(p_value) when 'array' then p_value ->> 0 else p_value #>> '{}' end);
begin
  if v_text ~ '^[0-9]+(\.[0-9]+)?$' then
    return v_text::numeric;
  elsif v_text ~* '^(mon|tue|wed|thu|fri|sat|sun)[a-z]*,? .*[0-9]{2}:[0-9]{2}:[0-9]{2}' and length(v_text) <= 40 then
    v_text := regexp_replace(regexp_replace(v_text, '^[a-z]+,? *', '', 'i'), ' *GMT$', '') || ' GMT';
    return greatest(extract(epoch from v_text::timestamptz - stepwell.now()), 0);
  end if;
  return null;
exception
  when data_exception then return null; -- looks like a date and is none
end
$$;

-- What a failed attempt asks for, in seconds: retry_after of the report, else metadata.backoff_hint.delay, else the
-- header Retry-After in metadata.headers, unless metadata.status says that the answer it came with was a success.
-- Null when it asks for nothing.
create function stepwell.asked_delay(p_result jsonb) returns numeric
language sql stable as $$
  select coalesce(
    stepwell.delay_seconds(p_result -> 'retry_after'),
    stepwell.delay_seconds(p_result #> '{metadata,backoff_hint,delay}'),
    (select stepwell.delay_seconds(h.value)
       from jsonb_each(case jsonb_typeof(p_result #> '{metadata,headers}')
              when 'object' then p_result #> '{metadata,headers}' else '{}' end) as h
      where lower(h.key) = 'retry-after' and coalesce(p_result #>> '{metadata,status}', '') !~ '^2' limit 1))
$$;

-- How long a step waits before its next attempt: what the worker asked for, else base * 2^(attempt - 1), shortened by
-- a random share of at most jitter so that steps that failed together do not come back together; never beyond the cap.
-- In seconds, not intervals: base * 2^40 is beyond an interval, and a worker may ask for any number that jsonb holds.
create function stepwell.retry_delay(
  p_attempt smallint, p_base interval, p_cap interval, p_jitter real, p_asked_seconds numeric
) returns interval
language sql volatile as $$
  select make_interval(secs => case when p_asked_seconds >= 0
    then least(round(p_asked_seconds, 6), extract(epoch from p_cap)::numeric)::double precision
    else least(extract(epoch from p_base)::double precision * power(2, least(p_attempt - 1, 40)),
               extract(epoch from p_cap)::double precision) * (1 - p_jitter * random()) end)
$$;

-- The failed attempts of a batch: each is recorded; the step waits for its retry or ends in error.
-- Called by: apply_messages, which holds the tasks' locks. Returns counts and the tasks that ended in error.
create function stepwell.apply_failures(
  p_messages jsonb[], p_times timestamptz[], p_workers text[],
  out retried integer, out failed integer, out finished uuid[], out timed_out integer)
language plpgsql as $$
declare
  v_failed_tasks uuid[];
begin
  with failures as materialized (
    select distinct on (s.task_id, s.position)
           s.task_id, s.position, s.attempt, r.message, r.message -> 'error' as error, k.kind,
           r.worker_id, r.reported_at,
           r.reported_at - stepwell.microseconds(r.message -> 'duration_us') as started_at,
           case when k.kind <> 'permanent' and s.attempt < s.max_attempts
                then stepwell.now() + stepwell.retry_delay(s.attempt, ws.backoff_base, ws.backoff_cap, ws.backoff_jitter,
                                                           stepwell.asked_delay(r.message)) end as run_at
      from unnest(p_messages, p_times, p_workers) with ordinality as r (message, reported_at, worker_id, ordinality)
      join stepwell.steps s
        on s.task_id = stepwell.as_uuid(r.message ->> 'task_id')
       and s.position = stepwell.as_smallint(r.message ->> 'step')
       and s.attempt = stepwell.as_smallint(r.message ->> 'attempt') and s.state = 'enqueued'
      join stepwell.tasks t on t.task_id = s.task_id
      join stepwell.workflow_steps ws on ws.workflow_id = t.workflow_id and ws.position = s.position
     cross join lateral (select stepwell.failure_kind(r.message ->> 'outcome', r.message -> 'error',
                           ws.permanent_errors, ws.retryable_errors) as kind) k
     where stepwell.is_result(r.message) and r.message ->> 'outcome' <> 'complete'
     order by s.task_id, s.position, r.ordinality
  ), recorded as (
    insert into stepwell.step_attempts
           (task_id, position, attempt, kind, error_class, code, message, backtrace, causes, context, metadata,
            worker_id, started_at, finished_at)
    select f.task_id, f.position, f.attempt, f.kind, f.error ->> 'class', f.error ->> 'code', f.error ->> 'message',
           f.error -> 'backtrace', f.error -> 'causes', f.error -> 'context', f.message -> 'metadata',
           f.worker_id, f.started_at, f.reported_at
      from failures f
  ), timed as (
    insert into stepwell.step_timers (due_at, task_id, position)
    select f.run_at, f.task_id, f.position from failures f where f.run_at is not null
  ), stepped as (
    update stepwell.steps s
       set state = case when f.run_at is null then 'error' else 'waiting_for_retry' end::stepwell.step_state,
           run_at = f.run_at, worker_id = f.worker_id, started_at = f.started_at, finished_at = f.reported_at,
           unhandled_since = null
      from failures f
     where s.task_id = f.task_id and s.position = f.position
    returning s.task_id, s.state, f.kind
  )
  select count(*) filter (where s.state = 'waiting_for_retry'), count(*) filter (where s.state = 'error'),
         array_agg(s.task_id) filter (where s.state = 'error'),
         count(*) filter (where s.state = 'waiting_for_retry' and s.kind = 'timeout')
    into retried, failed, v_failed_tasks, timed_out
    from stepped s;
  finished := stepwell.fail_tasks(v_failed_tasks);
end
$$;

-- Counts failed steps into their tasks (one entry a step) and settles those tasks.
-- Called by: whoever moved steps to 'error' and holds the tasks' locks. Returns the tasks that ended in error.
create function stepwell.fail_tasks(p_failed_tasks uuid[]) returns uuid[]
language plpgsql as $$
begin
  update stepwell.tasks t set steps_failed = t.steps_failed + f.failed
    from (select u.task_id, count(*) as failed from unnest(p_failed_tasks) as u (task_id) group by u.task_id) f
   where t.task_id = f.task_id;
  return stepwell.settle_tasks(p_failed_tasks);
end
$$;

-- Puts a task in error as soon as nothing in it can move and some step is in error.
-- Called by: apply_messages, fail_tasks, under the tasks' locks and in a statement after the steps were written, so
-- that two orchestrators with the last two results of a task cannot each think that the other's step still moves.
create function stepwell.settle_tasks(p_task_ids uuid[]) returns uuid[]
language plpgsql as $$
declare
  v_finished uuid[] := '{}';
begin
  if p_task_ids is not null then
    with settled as (
      update stepwell.tasks t set state = 'error', finished_at = stepwell.now()
       where t.task_id = any (p_task_ids) and t.state = 'in_progress' and t.steps_failed > 0
         and not exists (select from stepwell.steps s where s.task_id = t.task_id
                            and s.state in ('enqueued', 'waiting_for_retry'))
      returning t.task_id
    )
    select coalesce(array_agg(s.task_id), '{}') into v_finished from settled s;
  end if;
  return v_finished;
end
$$;
