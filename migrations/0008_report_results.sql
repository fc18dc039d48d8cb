-- Hop 4 of 5: what a worker says of the steps it claimed: report, release, heartbeat.
-- Each locks claims by id and nothing that orchestration locks, so workers and orchestrators never wait in a ring.

-- Sends the results of attempts to step_results and shrinks the claims they came from.
-- p_results: {claim, task_id, step, attempt, outcome: complete | retryable | permanent | timeout, and
--   result: any JSON | error: {class, ancestors: [class], code, message, backtrace, context}, retry_after: seconds or
--   an HTTP date, metadata: {headers, backoff_hint: {type, delay}, ...}, duration_us,
--   trace: {traceparent, workflow, name of the step}}. They pass to the queue unchanged, many in one message.
-- Called by: workers. Locks: claims by id. Returns the 1-based places of the results that were refused because the
-- claim no longer holds that attempt (lease lost); a report repeated after its commit is refused whole, a no-op.
create function stepwell.report_results(p_worker_id text, p_results jsonb[]) returns integer[]
language plpgsql as $$
declare
  v_named record;
  v_taken record;
begin
  select * into v_named from stepwell.read_steps(p_results);
  select * into v_taken
    from stepwell.take_results(p_worker_id, array(select stepwell.as_bigint(r ->> 'claim') from unnest(p_results) r),
                               v_named.task_ids, v_named.positions, v_named.attempts);
  if cardinality(v_taken.refused) = 0 then
    perform stepwell.send_results(p_worker_id, p_results);
  elsif v_taken.accepted is not null then
    perform stepwell.send_results(p_worker_id, array(select p_results[o] from unnest(v_taken.accepted) o));
  end if;
  return v_taken.refused;
end
$$;

-- Takes the steps of results out of the claims that hold them; arrays run in parallel. refused: the 1-based places of those that
-- were not held; accepted: of the others, null when that is all. namespace: theirs, when it is one.
-- Called by: report_results, settle_results. Locks: claims by id.
create function stepwell.take_results(
  p_worker_id text, p_claims bigint[], p_task_ids uuid[], p_positions smallint[], p_attempts smallint[],
  out accepted integer[], out refused integer[], out namespace text)
language plpgsql as $$
declare
  v_held record;
  v_part record;
begin
  perform from stepwell.claims c where c.claim_id = any (p_claims) and c.worker_id = p_worker_id
    order by c.claim_id for update;

  select array_agg(h.claim_id) filter (where h.reported = h.steps) as whole,
         array_agg(h.claim_id) filter (where h.reported < h.steps) as part, coalesce(sum(h.reported), 0) as reported,
         min(h.namespace) as first, max(h.namespace) as last
    into v_held
    from (select c.claim_id, min(c.namespace) as namespace, count(*) as steps,
                 count(*) filter (where (c.claim_id, u.task_id, u.position, u.attempt) in (
                   select r.claim_id, r.task_id, r.position, r.attempt
                     from unnest(p_claims, p_task_ids, p_positions, p_attempts) as r (claim_id, task_id, position, attempt)))
                   as reported
            from stepwell.claims c cross join unnest(c.task_ids, c.positions, c.attempts) as u (task_id, position, attempt)
           where c.claim_id = any (p_claims) and c.worker_id = p_worker_id
           group by c.claim_id) h;
  if v_held.first = v_held.last then
    namespace := v_held.first;
  end if;

  if v_held.reported = cardinality(p_claims) then -- as many as were reported: all of them, and none twice
    delete from stepwell.claims c where c.claim_id = any (v_held.whole);
    if v_held.part is not null then
      select array_agg(r.claim_id) as claims, array_agg(r.task_id) as task_ids, array_agg(r.position) as positions
        into v_part
        from unnest(p_claims, p_task_ids, p_positions) as r (claim_id, task_id, position)
       where r.claim_id = any (v_held.part);
      perform stepwell.cut_claims(v_part.claims, v_part.task_ids, v_part.positions);
    end if;
    refused := '{}';
    return;
  end if;

  select array_agg(r.ordinality::integer order by r.ordinality) into accepted -- the rare ones leave the common path alone
    from unnest(p_claims, p_task_ids, p_positions, p_attempts)
         with ordinality as r (claim_id, task_id, position, attempt, ordinality)
    join (select c.claim_id, u.task_id, u.position, u.attempt
            from stepwell.claims c, unnest(c.task_ids, c.positions, c.attempts) as u (task_id, position, attempt)
           where c.claim_id = any (p_claims) and c.worker_id = p_worker_id offset 0) h using (claim_id, task_id, position, attempt);
  if accepted is not null then
    perform stepwell.shrink_claims(array_agg(p_claims[o]), array_agg(p_task_ids[o]), array_agg(p_positions[o]))
       from unnest(accepted) o;
  end if;
  refused := array(select o from generate_series(1, cardinality(p_claims)) o
                    where o <> all (coalesce(accepted, '{}')) order by o);
end
$$;

-- Sends results of a worker as messages {worker, results: [...]}, as many in one as a page holds: what a message costs, in
-- time and in WAL, is paid once for all in it. Called by: report_results.
create function stepwell.send_results(p_worker_id text, p_results jsonb[]) returns void
language plpgsql as $$
begin
  perform stepwell.send_step_results(array_agg(m.message order by m.part))
     from (select r.part, jsonb_build_object('worker', p_worker_id, 'results', jsonb_agg(r.result)) as message
             from (select u.result, sum(pg_column_size(u.result)) over (order by u.ordinality) / 6000 as part
                     from unnest(p_results) with ordinality as u (result, ordinality)) r
            group by r.part) m;
end
$$;

-- Takes steps that claims hold out of them; a claim without steps is deleted. Arrays run in parallel.
-- Called by: report_results, release_steps, which hold the claims' locks; claim_named, which has just made them.
create function stepwell.shrink_claims(p_claims bigint[], p_task_ids uuid[], p_positions smallint[]) returns void
language plpgsql as $$
begin
  delete from stepwell.claims c
   using (select d.claim_id, count(distinct (d.task_id, d.position)) as steps
            from unnest(p_claims, p_task_ids, p_positions) as d (claim_id, task_id, position) group by d.claim_id) n
   where c.claim_id = any (p_claims) and c.claim_id = n.claim_id and cardinality(c.positions) = n.steps;
  if exists (select from stepwell.claims c where c.claim_id = any (p_claims)) then
    perform stepwell.cut_claims(p_claims, p_task_ids, p_positions);
  end if;
end
$$;

-- The same for claims that hold other steps, too. Called by: take_results, shrink_claims.
create function stepwell.cut_claims(p_claims bigint[], p_task_ids uuid[], p_positions smallint[]) returns void
language plpgsql as $$
begin
  with done as materialized (
    select distinct d.claim_id, d.task_id, d.position
      from unnest(p_claims, p_task_ids, p_positions) as d (claim_id, task_id, position)
  ), rest as (
    select c.claim_id, array_agg(u.task_id) filter (where d.task_id is null) as task_ids,
           array_agg(u.position) filter (where d.task_id is null) as positions,
           array_agg(u.attempt) filter (where d.task_id is null) as attempts
      from stepwell.claims c
      cross join unnest(c.task_ids, c.positions, c.attempts) as u (task_id, position, attempt)
      left join done d
        on d.claim_id = c.claim_id and d.task_id = u.task_id and d.position = u.position
     where c.claim_id = any (p_claims)
     group by c.claim_id
  )
  update stepwell.claims c set task_ids = r.task_ids, positions = r.positions, attempts = r.attempts
    from rest r where c.claim_id = any (p_claims) and c.claim_id = r.claim_id;
end
$$;

-- Gives claimed steps back unexecuted: the attempt is not counted, the message goes back to the queue, to be seen
-- again after p_delay seconds. Arrays run in parallel. Called by: workers that stop, or that lack a step's handler.
-- Locks: claims by id. Returns how many were given back; one that the claim no longer holds is left alone.
create function stepwell.release_steps(
  p_worker_id text, p_claims bigint[], p_task_ids uuid[], p_positions smallint[], p_delay integer default 0
) returns integer
language plpgsql as $$
declare
  v_held record;
begin
  perform from stepwell.claims c where c.claim_id = any (p_claims) and c.worker_id = p_worker_id
    order by c.claim_id for update;
  select array_agg(c.claim_id) as claims, array_agg(c.namespace) as namespaces, array_agg(u.task_id) as task_ids,
         array_agg(u.position) as positions, array_agg(u.attempt) as attempts
    into v_held
    from stepwell.claims c
    cross join unnest(c.task_ids, c.positions, c.attempts) as u (task_id, position, attempt)
    join unnest(p_claims, p_task_ids, p_positions) as g (claim_id, task_id, position)
      on g.claim_id = c.claim_id and g.task_id = u.task_id and g.position = u.position
   where c.worker_id = p_worker_id;
  if v_held.claims is null then
    return 0;
  end if;
  perform stepwell.shrink_claims(v_held.claims, v_held.task_ids, v_held.positions);
  perform stepwell.send_steps(v_held.namespaces, v_held.task_ids, v_held.positions, v_held.attempts, p_delay);
  return cardinality(v_held.claims);
end
$$;

-- Gives back all that a worker has claimed before a moment but the claims it knows: claims whose answer never reached it. The
-- attempts are not counted. Called by: workers, after a call that may have claimed steps has failed with its connection, when all
-- such calls of that time have ended. Locks: claims by id. Returns the namespaces whose queues got messages.
create function stepwell.release_unknown_claims(p_worker_id text, p_known bigint[], p_before timestamptz) returns text[]
language plpgsql as $$
declare
  v_lost record;
begin
  perform from stepwell.claims c where c.worker_id = p_worker_id and c.claim_id <> all (p_known) and c.claimed_at < p_before
    order by c.claim_id for update;
  with released as (
    delete from stepwell.claims c
     where c.worker_id = p_worker_id and c.claim_id <> all (p_known) and c.claimed_at < p_before returning c.*
  )
  select array_agg(r.namespace) as namespaces, array_agg(u.task_id) as task_ids, array_agg(u.position) as positions,
         array_agg(u.attempt) as attempts
    into v_lost
    from released r cross join unnest(r.task_ids, r.positions, r.attempts) as u (task_id, position, attempt);
  if v_lost.namespaces is null then
    return '{}';
  end if;
  perform stepwell.send_steps(v_lost.namespaces, v_lost.task_ids, v_lost.positions, v_lost.attempts);
  return array(select distinct n from unnest(v_lost.namespaces) n);
end
$$;

-- Extends claims by p_lease from now. Called by: a worker's heartbeat, a few times a lease, with the claims it knows of:
-- one whose answer never reached it must expire, or its steps would hang for as long as the worker lives.
-- Locks: claims by id. Returns the claims that still exist; one that is missing has expired and was recovered.
create function stepwell.heartbeat(p_worker_id text, p_claims bigint[], p_lease interval) returns setof bigint
language plpgsql as $$
begin
  perform from stepwell.claims c where c.claim_id = any (p_claims) and c.worker_id = p_worker_id
    order by c.claim_id for update;
  return query
    update stepwell.claims c set expires_at = stepwell.now() + p_lease
     where c.claim_id = any (p_claims) and c.worker_id = p_worker_id
    returning c.claim_id;
end
$$;

-- Stores how far an attempt is. Called by: a handler through its worker.
-- Locks: the step's row alone, and briefly. Returns null while the attempt is this worker's, else why it no longer is:
-- cancelled (the task), ended (the step: resolved by hand, or the task overdue), lost (the lease).
create function stepwell.report_progress(
  p_worker_id text, p_claim_id bigint, p_task_id uuid, p_position smallint, p_attempt smallint, p_progress jsonb
) returns text
language plpgsql as $$
declare
  v_state   stepwell.step_state;
  v_attempt smallint;
  v_held    boolean := exists (
    select from stepwell.claims c cross join unnest(c.task_ids, c.positions, c.attempts) as u (task_id, position, attempt)
     where c.claim_id = p_claim_id and c.worker_id = p_worker_id
       and u.task_id = p_task_id and u.position = p_position and u.attempt = p_attempt);
begin
  if v_held then
    update stepwell.steps s set progress = coalesce(nullif(p_progress, 'null'), s.progress)
     where s.task_id = p_task_id and s.position = p_position and s.attempt = p_attempt and s.state = 'enqueued';
    if found then
      return null;
    end if;
  end if;
  select s.state, s.attempt into v_state, v_attempt
    from stepwell.steps s where s.task_id = p_task_id and s.position = p_position;
  return case when v_state = 'cancelled' then 'cancelled'
              when v_held and v_attempt = p_attempt then 'ended'
              else 'lost' end;
end
$$;
