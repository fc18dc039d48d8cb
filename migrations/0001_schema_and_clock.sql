-- The schema, its clock, its ids and its state types.
-- Needs the schema pgmq (installed before the migrations run, see crates/stepwell/src/store/migrate.rs).

create schema if not exists stepwell;

comment on schema stepwell is
  'Durable workflows: task_requests -> {namespace}_queue -> step_results. See ARCHITECTURE.md.';

-- The only clock that decides anything: leases, retries, timers, priorities. The wall clock, also inside a long transaction.
create function stepwell.now() returns timestamptz
language sql volatile parallel safe as $$
  select pg_catalog.clock_timestamp()
$$;

-- Makes this database one for tests: from now on stepwell.now() is what a session sets stepwell.fake_now to, and the wall clock
-- while that is empty. In any other database nobody can move the clock. Called by: test suites, as the schema's owner.
create function stepwell.use_fake_clock() returns void
language plpgsql as $$
begin
  create or replace function stepwell.now() returns timestamptz
  language sql volatile parallel safe as $b$
    select coalesce(nullif(pg_catalog.current_setting('stepwell.fake_now', true), '')::timestamptz,
                    pg_catalog.clock_timestamp())
  $b$;
end
$$;

-- A version 7 uuid: 48 bits of milliseconds, so that ids sort by time and index pages fill in order.
-- For requests that arrive by plain SQL without an id; the client libraries make their own.
create function stepwell.uuid_v7() returns uuid
language sql volatile parallel safe as $$
  select pg_catalog.encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
        from 1 for 6),
      52, 1), 53, 1), 'hex')::uuid
$$;

-- The smallest version 7 uuid of a moment. Ids below it were made before.
create function stepwell.uuid_v7_floor(p_time timestamptz) returns uuid
language sql immutable parallel safe as $$
  select (lpad(to_hex((extract(epoch from p_time) * 1000)::bigint), 12, '0') || '70008' || repeat('0', 15))::uuid
$$;

-- Text to uuid: null when it is none. Queues can hold anything. For one text; a batch is read by read_steps, because a
-- regular expression for this takes ten times as long as the cast.
create function stepwell.as_uuid(p_text text) returns uuid
language plpgsql immutable as $$
begin
  return p_text::uuid;
exception when data_exception then
  return null;
end
$$;

-- Whether a uuid is of version 7, as ids of tasks are.
create function stepwell.is_v7(p_uuid uuid) returns boolean
language sql immutable parallel safe as $$
  select get_byte(uuid_send(p_uuid), 6) >> 4 = 7
$$;

-- Text to a small non-negative integer: null when it is none. It takes what the cast takes, as read_steps does, or the
-- same message would be a good one in one batch and none in another.
create function stepwell.as_smallint(p_text text) returns smallint
language plpgsql immutable as $$
begin
  return case when p_text::smallint >= 0 then p_text::smallint end;
exception when data_exception then
  return null;
end
$$;

-- Text to a claim's number without an exception: null when it is none.
create function stepwell.as_bigint(p_text text) returns bigint
language sql immutable parallel safe as $$
  select case when p_text ~ '^[0-9]{1,18}$' then p_text::bigint end
$$;

-- A priority by name or as an integer from -10 to 10; null when it is neither.
create function stepwell.priority_level(p_priority text) returns smallint
language sql immutable parallel safe as $$
  select case
    when p_priority ~ '^-?[0-9]{1,2}$' and p_priority::int between -10 and 10 then p_priority::smallint
    else (case p_priority when 'low' then -5 when 'normal' then 0 when 'high' then 5 when 'urgent' then 10 end)::smallint
  end
$$;

create type stepwell.task_state as enum
  ('pending', 'in_progress', 'complete', 'error', 'cancelled', 'resolved');

-- Two more are not written, the views show them: a step is 'ready' while it is enqueued but has no place in its
-- namespace's queue yet (ready_steps, keyed_steps), and 'in_progress' while an unexpired claim holds it.
create type stepwell.step_state as enum
  ('pending', 'enqueued', 'waiting_for_retry', 'complete', 'error', 'cancelled', 'resolved');
