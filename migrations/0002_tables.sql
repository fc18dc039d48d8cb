-- The tables. What an update on the done path changes stands in no index, so that those updates are HOT, and pages are filled only
-- so far that each row's finished version, which is longer, finds its place in the same page.

create table stepwell.workflows (
  workflow_id   integer generated always as identity primary key,
  namespace     text        not null check (namespace ~ '^[a-z][a-z0-9_]{0,39}$'),
  name          text        not null check (name ~ '^[a-z][a-z0-9_]{0,62}$'),
  version       text        not null check (length(version) between 1 and 64),
  description   text,
  input_schema  jsonb,
  priority      smallint    not null default 0 check (priority between -10 and 10),
  timeout       interval,
  concurrency_key   text[],
  concurrency_limit smallint check (concurrency_limit >= 1),
  steps         smallint    not null check (steps >= 1),
  digest        text        not null,
  registered_at timestamptz not null default stepwell.now(),
  unique (namespace, name, version),
  check ((concurrency_key is null) = (concurrency_limit is null))
);
comment on table stepwell.workflows is 'A registered definition. Immutable per version: other content under the same version is refused.';

create table stepwell.workflow_steps (
  workflow_id    integer  not null references stepwell.workflows on delete cascade,
  position       smallint not null check (position >= 0),
  name           text     not null check (name ~ '^[a-z][a-z0-9_]{0,62}$'),
  handler        text     not null,
  depends_on     smallint[],
  dependents     smallint[],
  max_attempts   smallint not null check (max_attempts >= 1),
  backoff_base   interval not null,
  backoff_cap    interval not null,
  backoff_jitter real     not null check (backoff_jitter between 0 and 1),
  timeout        interval,
  permanent_errors text[],
  retryable_errors text[],
  config         jsonb,
  primary key (workflow_id, position),
  unique (name, workflow_id) -- so that a step is never looked for among all of its workflow
);
comment on table stepwell.workflow_steps is 'A step of a definition, in topological order. Positions name it in the arrays; null stands for an empty array.';

create table stepwell.tasks (
  task_id         uuid        primary key,
  created_at      timestamptz not null,
  finished_at     timestamptz,
  deadline        timestamptz,
  workflow_id     integer     not null, -- no foreign key: every insert would lock, and write, the workflow's row
  steps_remaining integer     not null,
  steps_failed    integer     not null default 0,
  state           stepwell.task_state not null,
  priority        smallint    not null default 0,
  idempotency_key text,
  concurrency_key text,
  correlation_id  text,
  tags            text[],
  error           text,
  trace_context   jsonb,
  context         jsonb       not null
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
comment on table stepwell.tasks is 'One run of a workflow. Its row is the lock that guards its steps.';

create table stepwell.steps (
  task_id      uuid     not null,
  started_at   timestamptz,
  finished_at  timestamptz,
  run_at      timestamptz,
  unhandled_since timestamptz,
  state        stepwell.step_state not null,
  position     smallint not null,
  waiting_on   smallint not null,
  attempt      smallint not null default 0,
  max_attempts smallint not null,
  depends_on   smallint[],
  dependents   smallint[],
  name         text     not null,
  worker_id    text,
  result       jsonb,
  progress     jsonb,
  primary key (task_id, position)
) with (fillfactor = 35, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
comment on table stepwell.steps is 'One step of a task. attempt is 1-based, counts every try and is the fence for results.';

create table stepwell.claims (
  claim_id   bigint generated always as identity primary key,
  expires_at timestamptz not null,
  claimed_at timestamptz not null,
  namespace  text        not null,
  worker_id  text        not null,
  task_ids   uuid[]      not null,
  positions  smallint[]  not null,
  attempts   smallint[]  not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
        autovacuum_vacuum_cost_delay = 0, toast_tuple_target = 8160);
comment on table stepwell.claims is 'A part of a fetch of a worker: the steps still open in it, and until when it holds them.';
-- A claim shrinks with every report: kept in the page, not in a toast table.
alter table stepwell.claims
  alter column task_ids set storage main, alter column positions set storage main, alter column attempts set storage main;

create table stepwell.step_timers (
  due_at   timestamptz not null,
  task_id  uuid        not null,
  position smallint    not null,
  primary key (due_at, task_id, position)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
comment on table stepwell.step_timers is 'When a step that waits for its retry is due. One that no longer waits is dropped when its time comes.';

create table stepwell.task_deadlines (
  due_at  timestamptz not null,
  task_id uuid        not null,
  primary key (due_at, task_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
comment on table stepwell.task_deadlines is 'When a task is overdue. The row of one that has finished is dropped when its time comes.';

create table stepwell.step_attempts (
  task_id     uuid     not null,
  position    smallint not null,
  attempt     smallint not null,
  kind        text     not null check (kind in ('retryable', 'permanent', 'timeout', 'lost_lease')),
  error_class text,
  code        text,
  message     text,
  backtrace   jsonb,
  causes      jsonb,
  context     jsonb,
  metadata    jsonb,
  worker_id   text,
  started_at  timestamptz,
  finished_at timestamptz not null,
  primary key (task_id, position, attempt)
);
comment on table stepwell.step_attempts is 'An attempt that did not succeed. Append-only.';

create table stepwell.task_events (
  event_id    bigint generated always as identity primary key,
  task_id     uuid,
  namespace   text,
  kind        text        not null,
  actor       text,
  reason      text,
  details     jsonb,
  happened_at timestamptz not null,
  database_user name      not null default session_user
);
create index task_events_task_id on stepwell.task_events (task_id);
create index task_events_without_task on stepwell.task_events (happened_at) where task_id is null or kind = 'replay';
comment on table stepwell.task_events is 'Something a person or a rule did to a task, or to a namespace: who, why, when. actor: who the caller said it was; database_user: the role that was logged in.';

create table stepwell.namespaces (
  namespace   text primary key,
  paused_at   timestamptz,
  concurrency integer  check (concurrency >= 1),
  rate        integer  check (rate >= 1),
  rate_period interval check (rate_period > interval '0'),
  check ((rate is null) = (rate_period is null))
);
comment on table stepwell.namespaces is 'What has been set for a namespace; one without a row has no settings. paused_at: no step of it is claimed. concurrency: most steps of it in its queue and in claims together. rate: most steps that come into its queue within rate_period.';

create table stepwell.dispatch_settings (
  only_row     boolean  primary key default true check (only_row),
  queue_window integer  not null check (queue_window >= 1),
  boost        interval not null check (boost >= interval '0')
);
insert into stepwell.dispatch_settings (queue_window, boost) values (1000, interval '60 s');
comment on table stepwell.dispatch_settings is 'queue_window: most steps that stand in a namespace''s queue. boost: the waiting time that one level of priority is worth. Written by orchestrators from their configuration.';

create table stepwell.ready_steps (
  dispatch_at timestamptz not null,
  task_id     uuid        not null,
  position    smallint    not null,
  attempt     smallint    not null,
  namespace   text        not null,
  primary key (namespace, dispatch_at, task_id, position, attempt)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);
comment on table stepwell.ready_steps is 'A step that waits for a place in its namespace''s queue; the smallest dispatch_at goes first.';

create table stepwell.keyed_steps (
  dispatch_at timestamptz not null,
  task_id     uuid        not null,
  position    smallint    not null,
  attempt     smallint    not null,
  admitted    boolean     not null,
  key_limit   smallint    not null,
  namespace   text        not null,
  key         text        not null,
  primary key (task_id, position)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create index keyed_steps_waiting on stepwell.keyed_steps (namespace, key, dispatch_at, task_id, position) where not admitted;
create index keyed_steps_admitted on stepwell.keyed_steps (namespace, key) where admitted;
comment on table stepwell.keyed_steps is 'A step with a concurrency key whose attempt is on its way: at most key_limit of a key are admitted, the others wait.';

create table stepwell.touched_keys (
  touch_id  bigint generated always as identity,
  namespace text not null,
  key       text not null,
  primary key (namespace, touch_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
comment on table stepwell.touched_keys is 'A concurrency key of which a step may be admitted: one came, or one of those admitted has ended. Read and removed by dispatch_steps.';

create table stepwell.dispatches (
  namespace     text        not null,
  dispatched_at timestamptz not null,
  steps         integer     not null,
  primary key (namespace, dispatched_at)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
comment on table stepwell.dispatches is 'How many steps of a namespace with a rate came into its queue when; what is older than the rate''s period is removed.';

create table stepwell.dead_letters (
  dead_letter_id bigint generated always as identity primary key,
  queue          text        not null,
  message        jsonb,
  reason         text        not null,
  enqueued_at    timestamptz,
  buried_at      timestamptz not null,
  task_id        uuid        generated always as (stepwell.as_uuid(message ->> 'task_id')) stored
);
create index dead_letters_task_id on stepwell.dead_letters (task_id);
comment on table stepwell.dead_letters is 'A message that nobody could use, and why.';

create table stepwell.idempotency_keys (
  workflow        text not null,
  idempotency_key text not null,
  task_id         uuid not null,
  primary key (workflow, idempotency_key)
);
comment on table stepwell.idempotency_keys is 'Settled at submit: which task a key stands for, before the task has a row.';

create table stepwell.unvalidated_tasks (
  task_id uuid primary key
);
comment on table stepwell.unvalidated_tasks is 'Pending tasks that came by plain SQL and whose context an orchestrator has still to check against the input schema.';

-- A step that is claimed: what a handler needs beside its definition; user JSON as text, exactly. waited_ms: since when the step
-- had stood in the queue.
create type stepwell.claimed_step as (
  claim_id bigint, task_id uuid, step smallint, attempt smallint, max_attempts smallint, workflow_id integer, context text,
  results text, correlation_id text, trace_context text, waited_ms bigint);
