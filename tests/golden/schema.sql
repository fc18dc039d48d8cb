-- The schema that the migrations make; written by tests/schema.rs (UPDATE_GOLDEN=1), never by hand.

-- types
step_state: pending enqueued waiting_for_retry complete error cancelled resolved
task_state: pending in_progress complete error cancelled resolved

-- tables
claims with (fillfactor=50, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=500, autovacuum_vacuum_cost_delay=0, toast_tuple_target=8160)
  claim_id bigint not null identity
  expires_at timestamp with time zone not null
  claimed_at timestamp with time zone not null
  namespace text not null
  worker_id text not null
  task_ids uuid[] not null storage m
  positions smallint[] not null storage m
  attempts smallint[] not null storage m
dead_letters
  dead_letter_id bigint not null identity
  queue text not null
  message jsonb
  reason text not null
  enqueued_at timestamp with time zone
  buried_at timestamp with time zone not null
  task_id uuid default stepwell.as_uuid((message ->> 'task_id'::text))
dispatch_settings
  only_row boolean not null default true
  queue_window integer not null
  boost interval not null
dispatches with (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000)
  namespace text not null
  dispatched_at timestamp with time zone not null
  steps integer not null
idempotency_keys
  workflow text not null
  idempotency_key text not null
  task_id uuid not null
keyed_steps with (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_cost_delay=0)
  dispatch_at timestamp with time zone not null
  task_id uuid not null
  position smallint not null
  attempt smallint not null
  admitted boolean not null
  key_limit smallint not null
  namespace text not null
  key text not null
namespaces
  namespace text not null
  paused_at timestamp with time zone
  concurrency integer
  rate integer
  rate_period interval
ready_steps with (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_insert_scale_factor=0, autovacuum_vacuum_insert_threshold=50000, autovacuum_analyze_scale_factor=0, autovacuum_analyze_threshold=50000)
  dispatch_at timestamp with time zone not null
  task_id uuid not null
  position smallint not null
  attempt smallint not null
  namespace text not null
step_attempts
  task_id uuid not null
  position smallint not null
  attempt smallint not null
  kind text not null
  error_class text
  code text
  message text
  backtrace jsonb
  causes jsonb
  context jsonb
  metadata jsonb
  worker_id text
  started_at timestamp with time zone
  finished_at timestamp with time zone not null
step_timers with (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000)
  due_at timestamp with time zone not null
  task_id uuid not null
  position smallint not null
steps with (fillfactor=35, autovacuum_vacuum_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05)
  task_id uuid not null
  started_at timestamp with time zone
  finished_at timestamp with time zone
  run_at timestamp with time zone
  unhandled_since timestamp with time zone
  state stepwell.step_state not null
  position smallint not null
  waiting_on smallint not null
  attempt smallint not null default 0
  max_attempts smallint not null
  depends_on smallint[]
  dependents smallint[]
  name text not null
  worker_id text
  result jsonb
  progress jsonb
task_deadlines with (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000)
  due_at timestamp with time zone not null
  task_id uuid not null
task_events
  event_id bigint not null identity
  task_id uuid
  namespace text
  kind text not null
  actor text
  reason text
  details jsonb
  happened_at timestamp with time zone not null
  database_user name not null default SESSION_USER
tasks with (fillfactor=45, autovacuum_vacuum_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05)
  task_id uuid not null
  created_at timestamp with time zone not null
  finished_at timestamp with time zone
  deadline timestamp with time zone
  workflow_id integer not null
  steps_remaining integer not null
  steps_failed integer not null default 0
  state stepwell.task_state not null
  priority smallint not null default 0
  idempotency_key text
  concurrency_key text
  correlation_id text
  tags text[]
  error text
  trace_context jsonb
  context jsonb not null
touched_keys with (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_cost_delay=0)
  touch_id bigint not null identity
  namespace text not null
  key text not null
unvalidated_tasks
  task_id uuid not null
workflow_steps
  workflow_id integer not null
  position smallint not null
  name text not null
  handler text not null
  depends_on smallint[]
  dependents smallint[]
  max_attempts smallint not null
  backoff_base interval not null
  backoff_cap interval not null
  backoff_jitter real not null
  timeout interval
  permanent_errors text[]
  retryable_errors text[]
  config jsonb
workflows
  workflow_id integer not null identity
  namespace text not null
  name text not null
  version text not null
  description text
  input_schema jsonb
  priority smallint not null default 0
  timeout interval
  concurrency_key text[]
  concurrency_limit smallint
  steps smallint not null
  digest text not null
  registered_at timestamp with time zone not null default stepwell.now()

-- constraints
stepwell.claims claims_pkey: PRIMARY KEY (claim_id)
stepwell.dead_letters dead_letters_pkey: PRIMARY KEY (dead_letter_id)
stepwell.dispatch_settings dispatch_settings_boost_check: CHECK ((boost >= '00:00:00'::interval))
stepwell.dispatch_settings dispatch_settings_only_row_check: CHECK (only_row)
stepwell.dispatch_settings dispatch_settings_pkey: PRIMARY KEY (only_row)
stepwell.dispatch_settings dispatch_settings_queue_window_check: CHECK ((queue_window >= 1))
stepwell.dispatches dispatches_pkey: PRIMARY KEY (namespace, dispatched_at)
stepwell.idempotency_keys idempotency_keys_pkey: PRIMARY KEY (workflow, idempotency_key)
stepwell.keyed_steps keyed_steps_pkey: PRIMARY KEY (task_id, "position")
stepwell.namespaces namespaces_check: CHECK (((rate IS NULL) = (rate_period IS NULL)))
stepwell.namespaces namespaces_concurrency_check: CHECK ((concurrency >= 1))
stepwell.namespaces namespaces_pkey: PRIMARY KEY (namespace)
stepwell.namespaces namespaces_rate_check: CHECK ((rate >= 1))
stepwell.namespaces namespaces_rate_period_check: CHECK ((rate_period > '00:00:00'::interval))
stepwell.ready_steps ready_steps_pkey: PRIMARY KEY (namespace, dispatch_at, task_id, "position", attempt)
stepwell.step_attempts step_attempts_kind_check: CHECK ((kind = ANY (ARRAY['retryable'::text, 'permanent'::text, 'timeout'::text, 'lost_lease'::text])))
stepwell.step_attempts step_attempts_pkey: PRIMARY KEY (task_id, "position", attempt)
stepwell.step_timers step_timers_pkey: PRIMARY KEY (due_at, task_id, "position")
stepwell.steps steps_pkey: PRIMARY KEY (task_id, "position")
stepwell.task_deadlines task_deadlines_pkey: PRIMARY KEY (due_at, task_id)
stepwell.task_events task_events_pkey: PRIMARY KEY (event_id)
stepwell.tasks tasks_pkey: PRIMARY KEY (task_id)
stepwell.touched_keys touched_keys_pkey: PRIMARY KEY (namespace, touch_id)
stepwell.unvalidated_tasks unvalidated_tasks_pkey: PRIMARY KEY (task_id)
stepwell.workflow_steps workflow_steps_backoff_jitter_check: CHECK (((backoff_jitter >= (0)::double precision) AND (backoff_jitter <= (1)::double precision)))
stepwell.workflow_steps workflow_steps_max_attempts_check: CHECK ((max_attempts >= 1))
stepwell.workflow_steps workflow_steps_name_check: CHECK ((name ~ '^[a-z][a-z0-9_]{0,62}$'::text))
stepwell.workflow_steps workflow_steps_name_workflow_id_key: UNIQUE (name, workflow_id)
stepwell.workflow_steps workflow_steps_pkey: PRIMARY KEY (workflow_id, "position")
stepwell.workflow_steps workflow_steps_position_check: CHECK (("position" >= 0))
stepwell.workflow_steps workflow_steps_workflow_id_fkey: FOREIGN KEY (workflow_id) REFERENCES stepwell.workflows(workflow_id) ON DELETE CASCADE
stepwell.workflows workflows_check: CHECK (((concurrency_key IS NULL) = (concurrency_limit IS NULL)))
stepwell.workflows workflows_concurrency_limit_check: CHECK ((concurrency_limit >= 1))
stepwell.workflows workflows_name_check: CHECK ((name ~ '^[a-z][a-z0-9_]{0,62}$'::text))
stepwell.workflows workflows_namespace_check: CHECK ((namespace ~ '^[a-z][a-z0-9_]{0,39}$'::text))
stepwell.workflows workflows_namespace_name_version_key: UNIQUE (namespace, name, version)
stepwell.workflows workflows_pkey: PRIMARY KEY (workflow_id)
stepwell.workflows workflows_priority_check: CHECK (((priority >= '-10'::integer) AND (priority <= 10)))
stepwell.workflows workflows_steps_check: CHECK ((steps >= 1))
stepwell.workflows workflows_version_check: CHECK (((length(version) >= 1) AND (length(version) <= 64)))

-- indexes without a constraint
CREATE INDEX dead_letters_task_id ON stepwell.dead_letters USING btree (task_id)
CREATE INDEX keyed_steps_admitted ON stepwell.keyed_steps USING btree (namespace, key) WHERE admitted
CREATE INDEX keyed_steps_waiting ON stepwell.keyed_steps USING btree (namespace, key, dispatch_at, task_id, "position") WHERE (NOT admitted)
CREATE INDEX task_events_task_id ON stepwell.task_events USING btree (task_id)
CREATE INDEX task_events_without_task ON stepwell.task_events USING btree (happened_at) WHERE ((task_id IS NULL) OR (kind = 'replay'::text))

-- views
queued_requests (message jsonb, enqueued_at timestamp with time zone)
step_status (task_id uuid, position smallint, name text, state text, attempt smallint, max_attempts smallint, worker_id text, started_at timestamp with time zone, finished_at timestamp with time zone, run_at timestamp with time zone, waiting_on smallint, depends_on smallint[], result jsonb, progress jsonb, error_kind text, error_class text, error_code text, error_message text)
steps_in_progress (task_id uuid, position smallint, attempt smallint, worker_id text, claimed_at timestamp with time zone, expires_at timestamp with time zone)
task_status (task_id uuid, namespace text, name text, version text, state text, priority smallint, created_at timestamp with time zone, finished_at timestamp with time zone, steps_remaining integer, steps_total bigint, steps_in_progress bigint, waits_for text)

-- functions
admit_keyed_steps(p_namespace text, p_batch integer)
  returns void, plpgsql volatile, body 1787295e
admit_tasks(p_task_ids uuid[], p_errors text[])
  returns TABLE(namespaces text[], finished uuid[]), plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body cecd1de8
advance_tasks(p_task_ids uuid[], OUT finished uuid[], OUT ailing uuid[])
  returns record, plpgsql volatile, set enable_hashjoin=off, enable_mergejoin=off, body b73bc387
apply_completed(p_messages jsonb[], p_times timestamp with time zone[], p_workers text[], p_task_ids uuid[], p_positions smallint[], p_attempts smallint[], p_namespace text, p_values jsonb[], p_durations bigint[], OUT completed integer, OUT namespaces text[], OUT task_ids uuid[], OUT positions smallint[], OUT attempts smallint[], OUT finished uuid[], OUT ailing uuid[])
  returns record, plpgsql volatile, body c43f9c3f
apply_failures(p_messages jsonb[], p_times timestamp with time zone[], p_workers text[], OUT retried integer, OUT failed integer, OUT finished uuid[], OUT timed_out integer)
  returns record, plpgsql volatile, body 03c73dc7
apply_messages(p_messages jsonb[], p_times timestamp with time zone[], p_workers text[], p_task_ids uuid[] DEFAULT NULL::uuid[], p_positions smallint[] DEFAULT NULL::smallint[], p_attempts smallint[] DEFAULT NULL::smallint[], p_namespace text DEFAULT NULL::text, p_takers text[] DEFAULT '{}'::text[], p_take integer DEFAULT 0, p_values jsonb[] DEFAULT NULL::jsonb[], p_durations bigint[] DEFAULT NULL::bigint[])
  returns TABLE(popped integer, completed integer, retried integer, failed integer, stale integer, dead integer, namespaces text[], finished uuid[], timed_out integer, errored integer, handed_namespace text, handed_task_ids uuid[], handed_positions smallint[], handed_attempts smallint[]), plpgsql volatile, body ece97aa6
apply_results(p_batch integer, p_traced boolean DEFAULT false)
  returns TABLE(popped integer, completed integer, retried integer, failed integer, stale integer, dead integer, namespaces text[], finished uuid[], timed_out integer, errored integer, traces text), plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body 2b18e44d
are_distinct(p_task_ids uuid[], p_positions smallint[], p_attempts smallint[])
  returns boolean, plpgsql immutable, body 56e501f1
as_bigint(p_text text)
  returns bigint, sql immutable, body 55d0facf
as_failure(p_queue text, p_message jsonb, p_why text)
  returns jsonb, sql immutable, body feaaef93
as_smallint(p_text text)
  returns smallint, plpgsql immutable, body 3348f750
as_uuid(p_text text)
  returns uuid, plpgsql immutable, body 5579e3b1
asked_delay(p_result jsonb)
  returns numeric, sql stable, body 6b4c2021
begin_task(p_request jsonb, p_traced boolean, p_worker_id text, p_namespaces text[], p_take integer, p_lease interval)
  returns TABLE(submitted uuid, created boolean, popped integer, initialized integer, rejected integer, unvalidated integer, dead integer, namespaces text[], finished uuid[], traces text, claim_id bigint, task_id uuid, step smallint, attempt smallint, max_attempts smallint, workflow_id integer, context text, results text, correlation_id text, trace_context text, waited_ms bigint), plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body 01e10164
bury_message(p_queue text, p_problem text DEFAULT NULL::text, p_reason text DEFAULT NULL::text, p_internal boolean DEFAULT false)
  returns text, plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body e8e04f23
bury_results(p_messages jsonb[], p_times timestamp with time zone[], p_workers text[])
  returns integer, plpgsql volatile, body 235706f5
cancel_task(p_task_id uuid, p_reason text DEFAULT NULL::text, p_actor text DEFAULT NULL::text)
  returns stepwell.task_state, plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body 15f627a4
check_attempts()
  returns TABLE(invariant text, task_id uuid, step text, details text), sql stable, body ccc3735d
check_dependencies()
  returns TABLE(invariant text, task_id uuid, step text, details text), sql stable, body 0a3d6e0c
check_invariants()
  returns TABLE(invariant text, task_id uuid, step text, details text), sql stable security definer, set search_path=pg_catalog, pg_temp, body 187fdcc2
check_messages()
  returns TABLE(invariant text, task_id uuid, step text, details text), sql stable, body a5010e45
check_tasks()
  returns TABLE(invariant text, task_id uuid, step text, details text), sql stable, body 0a4632d4
claim_messages(p_namespace text, p_worker_id text, p_lease interval, p_messages jsonb[], p_times timestamp with time zone[])
  returns SETOF stepwell.claimed_step, plpgsql volatile, body 277a9b15
claim_named(p_namespace text, p_task_ids uuid[], p_positions smallint[], p_attempts smallint[], p_times timestamp with time zone[], p_worker_id text, p_lease interval, p_messages jsonb[] DEFAULT NULL::jsonb[])
  returns SETOF stepwell.claimed_step, plpgsql volatile, body 996b0ab5
claim_step(p_namespace text, p_task_id uuid, p_position smallint, p_attempt smallint, p_since timestamp with time zone, p_worker_id text, p_lease interval)
  returns stepwell.claimed_step, plpgsql volatile, body e1a0bc95
claim_steps(p_namespace text, p_batch integer, p_worker_id text, p_lease interval)
  returns SETOF stepwell.claimed_step, plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body 75187a67
close_functions()
  returns void, plpgsql volatile, set search_path=pg_catalog, pg_temp, body e0cf7a07
concurrency_key(p_path text[], p_context jsonb)
  returns text, sql stable, body 697073e1
concurrency_left(p_limits stepwell.namespaces)
  returns integer, plpgsql stable, body 6aae8532
configure_dispatch(p_queue_window integer, p_boost interval)
  returns void, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body ce94f677
count_step_results(p_most integer)
  returns integer, plpgsql stable, body cbe7cf67
count_steps(p_namespace text, p_steps integer)
  returns void, plpgsql volatile, body 27ca7b59
count_task_requests(p_most integer)
  returns integer, plpgsql stable, body a595c76f
create_queue(p_queue text)
  returns void, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body f08e3f15
create_queue_functions(p_queue text)
  returns void, plpgsql volatile, body dc4fefd0
cut_claims(p_claims bigint[], p_task_ids uuid[], p_positions smallint[])
  returns void, plpgsql volatile, body fcb4b034
database_metrics(p_most integer)
  returns TABLE(oldest_snapshot_age double precision, dead_letters bigint), sql stable security definer, set lock_timeout=1 s, search_path=pg_catalog, pg_temp, body c72772b7
delay_seconds(p_value jsonb)
  returns numeric, plpgsql stable, set DateStyle=ISO, DMY, standard_conforming_strings=on, body b4eca5d1
describe_steps(p_workflow_ids integer[])
  returns TABLE(workflow_id integer, "position" smallint, workflow text, version text, name text, handler text, timeout_ms bigint, config text), sql stable security definer, set search_path=pg_catalog, pg_temp, body 4ab13b86
dispatch_at(p_created_at timestamp with time zone, p_priority smallint, p_boost interval)
  returns timestamp with time zone, sql stable, body 53456a69
dispatch_namespace(p_namespace text, p_most integer)
  returns integer, plpgsql volatile, body ee2aa9b0
dispatch_steps(p_batch integer, OUT dispatched integer, OUT namespaces text[])
  returns record, plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body e4a47211
enqueue_steps(p_namespaces text[], p_task_ids uuid[], p_positions smallint[], p_attempts smallint[], p_times timestamp with time zone[] DEFAULT NULL::timestamp with time zone[], p_priorities smallint[] DEFAULT NULL::smallint[], p_keys text[] DEFAULT NULL::text[])
  returns text[], plpgsql volatile, body f496b963
fail_overdue_tasks(p_batch integer)
  returns TABLE(popped integer, failed integer, finished uuid[]), plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body 716c1a8e
fail_tasks(p_failed_tasks uuid[])
  returns uuid[], plpgsql volatile, body 6af85437
failure_kind(p_outcome text, p_error jsonb, p_permanent_errors text[], p_retryable_errors text[])
  returns text, sql immutable, body 794303ab
finished_tasks(p_task_ids uuid[])
  returns TABLE(task_id uuid, workflow text, state text, ms bigint, step text, attempts smallint, error_class text, error text), plpgsql stable security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body 17f440b1
free_keys(p_task_ids uuid[])
  returns void, plpgsql volatile, body 69853a7e
functions_of(p_kind text)
  returns SETOF name, sql immutable, body fe08b126
gate(p_namespace text, p_steps integer, OUT room integer, OUT before timestamp with time zone, OUT before_task uuid)
  returns record, plpgsql stable, body a7324404
grant_role(p_role regrole, p_kind text)
  returns void, plpgsql volatile, set search_path=pg_catalog, pg_temp, body c8fe7314
handle_messages(p_queue text, p_messages jsonb[], p_times timestamp with time zone[])
  returns void, plpgsql volatile, body e860d55b
heartbeat(p_worker_id text, p_claims bigint[], p_lease interval)
  returns SETOF bigint, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body 19efb1c2
initialize_one(p_message jsonb, p_task_id uuid, p_time timestamp with time zone, p_most integer DEFAULT NULL::integer, OUT namespace text, OUT roots smallint[])
  returns record, plpgsql volatile, body 5bb1f9a6
initialize_requests(p_messages jsonb[], p_times timestamp with time zone[], p_takers text[] DEFAULT '{}'::text[], p_take integer DEFAULT 0)
  returns TABLE(popped integer, initialized integer, rejected integer, unvalidated integer, dead integer, namespaces text[], finished uuid[], handed_namespace text, handed_task_ids uuid[], handed_positions smallint[]), plpgsql volatile, body 9eb46293
initialize_tasks(p_batch integer, p_traced boolean DEFAULT false, p_worker_id text DEFAULT NULL::text, p_namespaces text[] DEFAULT '{}'::text[], p_take integer DEFAULT 0, p_lease interval DEFAULT NULL::interval)
  returns TABLE(popped integer, initialized integer, rejected integer, unvalidated integer, dead integer, namespaces text[], finished uuid[], traces text, claim_id bigint, task_id uuid, step smallint, attempt smallint, max_attempts smallint, workflow_id integer, context text, results text, correlation_id text, trace_context text, waited_ms bigint), plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body 94ef0b7f
is_open(p_namespace text)
  returns boolean, plpgsql stable, body b5854e87
is_result(p_message jsonb)
  returns boolean, sql immutable, body 7d0caf97
is_too_deep(p_json jsonb)
  returns boolean, sql immutable, body b1edd092
is_v7(p_uuid uuid)
  returns boolean, sql immutable, body be228193
keep_settings()
  returns trigger, plpgsql volatile, body bbd12bd9
keep_used_workflow()
  returns trigger, plpgsql volatile, body 4af1b3db
known_namespaces()
  returns SETOF text, sql stable, body 994af0e4
known_tasks(p_task_ids uuid[])
  returns TABLE(task_id uuid, ended boolean), plpgsql stable security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, enable_hashjoin=off, enable_mergejoin=off, search_path=pg_catalog, pg_temp, body c15f20c4
limit_namespace(p_namespace text, p_concurrency integer, p_rate integer, p_rate_period interval, p_reason text DEFAULT NULL::text, p_actor text DEFAULT NULL::text)
  returns void, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body b7efeb3d
line_up(p_namespaces text[], p_task_ids uuid[], p_positions smallint[], p_attempts smallint[], p_takers text[], p_take integer, OUT handed integer, OUT task_ids uuid[], OUT positions smallint[], OUT attempts smallint[])
  returns record, plpgsql stable, body 48c3fd2b
lock_task(p_task_id uuid)
  returns stepwell.task_state, plpgsql volatile, body 4177dcfb
may_bypass_queue(p_namespace text, p_new boolean)
  returns boolean, plpgsql stable, body ff008400
messages_in_flight()
  returns TABLE(place text, task_id uuid, "position" smallint, attempt smallint), plpgsql stable, body 8d389f63
microseconds(p_value jsonb)
  returns interval, sql immutable, body 7ab43347
now()
  returns timestamp with time zone, sql volatile, body 3224ce03
offer_step_results(p_messages jsonb[], p_most integer)
  returns boolean, plpgsql volatile, body 49a3c3b6
offer_steps(p_namespace text, p_task_ids uuid[], p_positions smallint[], p_attempts smallint[])
  returns boolean, plpgsql volatile, body 7d87bd62
offer_task_requests(p_messages jsonb[], p_most integer)
  returns boolean, plpgsql volatile, body abb9e6a2
others_apply()
  returns boolean, plpgsql volatile, body 4ac9cb1e
others_initialize()
  returns boolean, plpgsql volatile, body b45ee01f
pause_namespace(p_namespace text, p_reason text DEFAULT NULL::text, p_actor text DEFAULT NULL::text)
  returns boolean, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body 99177c7f
place_steps(p_namespace text, p_task_id uuid, p_positions smallint[], p_takers text[], p_take integer, p_wait boolean, p_new boolean, OUT handed smallint[], OUT namespaces text[])
  returns record, plpgsql volatile, body b634cbed
pop_messages(p_queue text, p_batch integer, OUT messages jsonb[], OUT times timestamp with time zone[])
  returns record, plpgsql volatile, body 79f76837
pop_requests(p_batch integer, OUT messages jsonb[], OUT times timestamp with time zone[])
  returns record, plpgsql volatile, body 10d5a554
pop_results(p_batch integer, OUT results jsonb[], OUT times timestamp with time zone[], OUT workers text[])
  returns record, plpgsql volatile, body 1537150d
pop_step_results(p_batch integer, OUT messages jsonb[], OUT times timestamp with time zone[])
  returns record, plpgsql volatile, body 03482be2
pop_task_requests(p_batch integer, OUT messages jsonb[], OUT times timestamp with time zone[])
  returns record, plpgsql volatile, body 111939f3
priority_level(p_priority text)
  returns smallint, sql immutable, body ff6e4bdd
put_rows_back()
  returns trigger, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body 060f133e
queue_has_messages(p_queue text)
  returns boolean, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body aff86232
queue_length(p_namespace text, p_most integer)
  returns integer, plpgsql stable, body d29beda1
queue_metrics(p_most integer)
  returns TABLE(queue text, namespace text, messages bigint, oldest_age double precision, sent bigint, dead_rows bigint, waiting bigint, in_progress bigint), plpgsql stable security definer, set lock_timeout=1 s, search_path=pg_catalog, pg_temp, body b6b41ffd
queue_room(p_namespace text, p_window integer, p_enough integer)
  returns integer, plpgsql stable, body c6cd3ce1
queue_status()
  returns TABLE(namespace text, queued bigint, oldest_at timestamp with time zone, ready bigint, keyed bigint, in_progress bigint, paused_at timestamp with time zone, concurrency integer, rate integer, rate_period interval, waits_for text), plpgsql stable security definer, set search_path=pg_catalog, pg_temp, body fd3aeb6c
rate_left(p_limits stepwell.namespaces, p_now timestamp with time zone)
  returns integer, plpgsql volatile, body 79276768
read_steps(p_messages jsonb[], OUT task_ids uuid[], OUT positions smallint[], OUT attempts smallint[])
  returns record, plpgsql immutable, body 76ec274f
read_task_ids(p_requests jsonb[])
  returns uuid[], plpgsql stable, body a2f379a8
recover_claims(p_batch integer)
  returns TABLE(popped integer, recovered integer, failed integer, namespaces text[], finished uuid[]), plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body dea4ecbb
register_workflow(p_definition jsonb)
  returns integer, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body d81a6cc1
release_steps(p_worker_id text, p_claims bigint[], p_task_ids uuid[], p_positions smallint[], p_delay integer DEFAULT 0)
  returns integer, plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, enable_nestloop=off, search_path=pg_catalog, pg_temp, body bc8729e0
release_unhandled(p_worker_id text, p_claims bigint[], p_task_ids uuid[], p_positions smallint[], p_delay integer, p_give_up interval)
  returns uuid[], plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body 97ece1d5
release_unknown_claims(p_worker_id text, p_known bigint[], p_before timestamp with time zone)
  returns text[], plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body e6ef6f5d
remove_dead_letters(p_batch integer, p_age interval)
  returns integer, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body ac76b6f9
remove_events(p_batch integer, p_age interval)
  returns integer, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body fba9e5fd
remove_finished_tasks(p_after uuid, p_batch integer, p_finished interval, p_failed interval, OUT looked_at integer, OUT removed integer, OUT last_id uuid)
  returns record, plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body fd9c08fa
reopen_task(p_task_id uuid, p_steps integer)
  returns void, plpgsql volatile, body df74d4e6
replay_dead_letters(p_ids bigint[], p_reason text DEFAULT NULL::text, p_actor text DEFAULT NULL::text)
  returns bigint[], plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body 3d0bef62
report_progress(p_worker_id text, p_claim_id bigint, p_task_id uuid, p_position smallint, p_attempt smallint, p_progress jsonb)
  returns text, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body 20d84c73
report_results(p_worker_id text, p_results jsonb[])
  returns integer[], plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body 37423efc
request_problem(p_request jsonb)
  returns text, plpgsql immutable, body 413f5c2b
request_traces(p_messages jsonb[])
  returns text, sql immutable, body 9c7c0d1a
requested_workflows(p_messages jsonb[])
  returns TABLE(workflow text, version text, workflow_id integer, namespace text, steps smallint, timeout interval, priority smallint, concurrency_key text[], schema_digest text, roots smallint[], defined stepwell.defined_step[]), sql stable, body a1efe1f8
require_namespace(p_namespace text)
  returns void, plpgsql volatile, body eb4d6062
require_queue(p_queue text)
  returns void, plpgsql stable, body dbbf0d3e
resolve_step(p_task_id uuid, p_step text, p_result jsonb, p_reason text DEFAULT NULL::text, p_actor text DEFAULT NULL::text, OUT namespaces text[], OUT state stepwell.task_state)
  returns record, plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body 3e46b433
result_traces(p_messages jsonb[])
  returns text, sql immutable, body 9ccad27d
results_in(p_message jsonb)
  returns integer, sql immutable, body df99e145
results_of(p_message jsonb)
  returns SETOF jsonb, sql immutable, body a6a228fa
results_wait()
  returns boolean, plpgsql stable, body 85c8071d
resume_namespace(p_namespace text, p_reason text DEFAULT NULL::text, p_actor text DEFAULT NULL::text)
  returns boolean, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body 2efacc99
retry_delay(p_attempt smallint, p_base interval, p_cap interval, p_jitter real, p_asked_seconds numeric)
  returns interval, sql volatile, body e7f49d92
retry_task(p_task_id uuid, p_reason text DEFAULT NULL::text, p_actor text DEFAULT NULL::text, p_steps text[] DEFAULT NULL::text[])
  returns text[], plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body b88182c3
runnable_steps(p_namespace text, p_messages jsonb[], p_times timestamp with time zone[], p_task_ids uuid[], p_positions smallint[], p_attempts smallint[], OUT task_ids uuid[], OUT positions smallint[], OUT attempts smallint[], OUT times timestamp with time zone[])
  returns record, plpgsql volatile, body dc1ba970
send_messages(p_queue text, p_messages jsonb[], p_delay integer)
  returns void, plpgsql volatile, body 7799a2d2
send_results(p_worker_id text, p_results jsonb[])
  returns void, plpgsql volatile, body 3b89d9ef
send_step_results(p_messages jsonb[], p_delay integer DEFAULT 0)
  returns void, plpgsql volatile, body b023fee9
send_steps(p_namespaces text[], p_task_ids uuid[], p_positions smallint[], p_attempts smallint[], p_delay integer DEFAULT 0)
  returns void, plpgsql volatile, body d2d0be44
send_task_requests(p_messages jsonb[], p_delay integer DEFAULT 0)
  returns void, plpgsql volatile, body b322adc5
set_rows_aside()
  returns trigger, plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body f69e63be
settle_keys(p_requests jsonb[], p_task_ids uuid[], OUT requests jsonb[], OUT task_ids uuid[], OUT created boolean[])
  returns record, plpgsql volatile, body 5e1f22cf
settle_one(p_worker_id text, p_claim bigint, p_task_id uuid, p_position smallint, p_attempt smallint, p_value jsonb, p_duration bigint, OUT completed boolean, OUT namespace text, OUT ready smallint[], OUT finished uuid[], OUT errored integer)
  returns record, plpgsql volatile, body df63dd43
settle_results(p_worker_id text, p_claims bigint[], p_task_ids uuid[], p_steps smallint[], p_attempts smallint[], p_values jsonb[], p_durations bigint[], p_results jsonb[], p_batch integer, p_traced boolean DEFAULT false, p_namespaces text[] DEFAULT '{}'::text[], p_take integer DEFAULT 0, p_lease interval DEFAULT NULL::interval)
  returns TABLE(refused integer[], popped integer, completed integer, retried integer, failed integer, stale integer, dead integer, namespaces text[], finished uuid[], timed_out integer, errored integer, traces text, claim_id bigint, task_id uuid, step smallint, attempt smallint, max_attempts smallint, workflow_id integer, context text, results text, correlation_id text, trace_context text, waited_ms bigint), plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, lock_timeout=200ms, search_path=pg_catalog, pg_temp, body b0551dc6
settle_tasks(p_task_ids uuid[])
  returns uuid[], plpgsql volatile, body 46c1c8dd
shrink_claims(p_claims bigint[], p_task_ids uuid[], p_positions smallint[])
  returns void, plpgsql volatile, body 539dc44a
skip_step_results(p_messages integer)
  returns void, plpgsql volatile, body 0a6e7ff3
skip_task_requests(p_messages integer)
  returns void, plpgsql volatile, body 777b84c7
smallints(p_array jsonb)
  returns smallint[], sql immutable, body 1313511e
steps_wait()
  returns boolean, plpgsql stable, body d0129c10
submit_tasks(p_requests jsonb[])
  returns TABLE(request integer, task_id uuid, created boolean), plpgsql volatile security definer, set search_path=pg_catalog, pg_temp, body 51b8780a
take_ready_steps(p_namespace text, p_most integer, OUT steps integer, OUT task_ids uuid[], OUT positions smallint[], OUT attempts smallint[])
  returns record, plpgsql volatile, body 33738a21
take_results(p_worker_id text, p_claims bigint[], p_task_ids uuid[], p_positions smallint[], p_attempts smallint[], OUT accepted integer[], OUT refused integer[], OUT namespace text)
  returns record, plpgsql volatile, set enable_nestloop=off, body a2f3cd6c
take_unvalidated_tasks(p_batch integer)
  returns TABLE(task_id uuid, context text, input_schema text), sql volatile security definer, set search_path=pg_catalog, pg_temp, body 4c52726e
texts(p_array jsonb)
  returns text[], sql immutable, body 82aca014
unknown_tasks(p_task_ids uuid[])
  returns SETOF uuid, plpgsql stable security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, enable_hashjoin=off, enable_mergejoin=off, search_path=pg_catalog, pg_temp, body bd0aeb91
use_fake_clock()
  returns void, plpgsql volatile, body 976aaf6b
uuid_v7()
  returns uuid, sql volatile, body 46c3d1be
uuid_v7_floor(p_time timestamp with time zone)
  returns uuid, sql immutable, body 00d5b1aa
waiting_namespaces()
  returns text[], plpgsql stable, body cf6311fb
wake_due_steps(p_batch integer)
  returns TABLE(popped integer, woken integer, namespaces text[]), plpgsql volatile security definer, set enable_seqscan=off, random_page_cost=0.01, jit=off, plan_cache_mode=force_generic_plan, search_path=pg_catalog, pg_temp, body 3d3eff9b
with_worker(p_result jsonb, p_worker_id text)
  returns jsonb, sql immutable, body a8d3bb86
withdraw_ready_steps(p_task_ids uuid[])
  returns void, plpgsql volatile, body 89eedf62

-- queues
step_results: autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_insert_scale_factor=0, autovacuum_vacuum_insert_threshold=50000, autovacuum_vacuum_cost_delay=0, autovacuum_analyze_scale_factor=0, autovacuum_analyze_threshold=50000, vacuum_truncate=false, toast_tuple_target=8160
task_requests: autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_insert_scale_factor=0, autovacuum_vacuum_insert_threshold=50000, autovacuum_vacuum_cost_delay=0, autovacuum_analyze_scale_factor=0, autovacuum_analyze_threshold=50000, vacuum_truncate=false
