//! What clients call: submit, look up, cancel, retry.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use sqlx::FromRow;
use uuid::Uuid;

use super::{OrFail, Store};
use crate::error::{Error, Result};

/// What became of one request of a submit.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct Submitted {
    /// The task: the new one, or the one that the idempotency key stands for.
    pub task_id: Uuid,
    /// Whether this request created it.
    pub created: bool,
}

/// A task as clients see it. Times are microseconds since 1970.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct TaskRow {
    /// The task.
    pub task_id: Uuid,
    /// One of `pending in_progress complete error cancelled resolved`.
    pub state: String,
    /// `namespace/name` of its workflow.
    pub workflow: String,
    /// Version of its workflow; none while it waits in the queue without one.
    pub version: Option<String>,
    /// Priority, -10 to 10.
    pub priority: i16,
    /// Context, JSON text; serialized as the JSON it is.
    #[serde(serialize_with = "as_json")]
    pub context: String,
    /// Why its request was rejected.
    pub error: Option<String>,
    /// Its idempotency key.
    pub idempotency_key: Option<String>,
    /// Its correlation id.
    pub correlation_id: Option<String>,
    /// Its tags.
    pub tags: Option<Vec<String>>,
    /// When it was submitted.
    pub created_at: i64,
    /// When it reached its terminal state.
    pub finished_at: Option<i64>,
}

/// A step as clients see it. Times are microseconds since 1970.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct StepRow {
    /// Name of the step.
    pub name: String,
    /// Its state; `in_progress` while an unexpired claim holds it.
    pub state: String,
    /// Current or last attempt, 0 before the first.
    pub attempt: i16,
    /// How many attempts it has in all.
    pub max_attempts: i16,
    /// Names of the steps it waits for.
    pub depends_on: Vec<String>,
    /// Result, JSON text; serialized as the JSON it is.
    #[serde(serialize_with = "as_optional_json")]
    pub result: Option<String>,
    /// Last attempt that did not succeed, a JSON object as text; none for a step that completed.
    #[serde(serialize_with = "as_optional_json")]
    pub error: Option<String>,
    /// Worker of the last attempt.
    pub worker_id: Option<String>,
    /// When the last attempt started.
    pub started_at: Option<i64>,
    /// When the last attempt ended.
    pub finished_at: Option<i64>,
}

fn as_json<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::from_str::<&RawValue>(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
}

fn as_optional_json<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => as_json(text, serializer),
        None => serializer.serialize_none(),
    }
}

const TERMINAL: &str = "('complete', 'error', 'cancelled', 'resolved')";

impl Store {
    /// Submits requests, each the JSON text that `stepwell.submit_tasks` describes, all or none.
    pub async fn submit_tasks(&self, requests: &[String]) -> Result<Vec<Submitted>> {
        sqlx::query_as("select task_id, created from stepwell.submit_tasks($1::text[]::jsonb[]) order by request")
            .bind(requests)
            .fetch_all(&self.pool)
            .await
            .or_fail(self)
    }

    /// Those of these tasks that have a row, in no order.
    pub async fn find_tasks(&self, task_ids: &[Uuid]) -> Result<Vec<TaskRow>> {
        sqlx::query_as(
            "select t.task_id, t.state::text, w.namespace || '/' || w.name as workflow, w.version, t.priority,
                    t.context::text, t.error, t.idempotency_key, t.correlation_id, t.tags,
                    (extract(epoch from t.created_at) * 1e6)::bigint as created_at,
                    (extract(epoch from t.finished_at) * 1e6)::bigint as finished_at
               from stepwell.tasks t join stepwell.workflows w using (workflow_id)
              where t.task_id = any ($1)",
        )
        .bind(task_ids)
        .fetch_all(&self.pool)
        .await
        .or_fail(self)
    }

    /// A task, wherever it is: still in the queue, in its table, or among the dead letters. One snapshot.
    ///
    /// # Errors
    /// [`Error::UnknownTask`].
    pub async fn find_task(&self, task_id: Uuid) -> Result<TaskRow> {
        if let Some(task) = self.find_tasks(&[task_id]).await?.pop() {
            return Ok(task);
        }
        // The slow look: queues have no index on what is in a message. Between the two looks the task may have got its
        // row, so this one looks everywhere.
        sqlx::query_as(
            "select t.task_id, t.state::text, w.namespace || '/' || w.name as workflow, w.version, t.priority,
                    t.context::text, t.error, t.idempotency_key, t.correlation_id, t.tags,
                    (extract(epoch from t.created_at) * 1e6)::bigint as created_at,
                    (extract(epoch from t.finished_at) * 1e6)::bigint as finished_at
               from stepwell.tasks t join stepwell.workflows w using (workflow_id)
              where t.task_id = $1
             union all
             select $1, m.state, m.message ->> 'workflow', m.message ->> 'version',
                    coalesce(stepwell.priority_level(m.message ->> 'priority'), 0::smallint),
                    coalesce(m.message -> 'context', '{}')::text, m.reason, m.message ->> 'idempotency_key',
                    m.message ->> 'correlation_id', null, (extract(epoch from m.enqueued_at) * 1e6)::bigint,
                    (extract(epoch from m.buried_at) * 1e6)::bigint
               from (select 'pending' as state, q.message, null::text as reason, q.enqueued_at, null::timestamptz as buried_at
                       from pgmq.q_task_requests q where q.message ->> 'task_id' = $1::text
                     union all
                     select 'error', d.message, d.reason, d.enqueued_at, d.buried_at
                       from stepwell.dead_letters d
                      where d.queue = 'task_requests' and d.message ->> 'task_id' = $1::text) m
              limit 1",
        )
        .bind(task_id)
        .fetch_optional(&self.pool)
        .await
        .or_fail(self)?
        .ok_or(Error::UnknownTask { task_id })
    }

    /// The steps of a task in topological order; none while its request waits in the queue.
    pub async fn find_steps(&self, task_id: Uuid) -> Result<Vec<StepRow>> {
        sqlx::query_as(
            "select s.name, s.state, s.attempt, s.max_attempts, s.result::text,
                    array(select d.name from stepwell.steps d
                           where d.task_id = s.task_id and d.position = any (s.depends_on) order by d.position) as depends_on,
                    case when a.task_id is not null then jsonb_build_object(
                      'kind', a.kind, 'class', a.error_class, 'code', a.code, 'message', a.message,
                      'backtrace', a.backtrace, 'context', a.context, 'metadata', a.metadata)::text end as error,
                    s.worker_id,
                    (extract(epoch from s.started_at) * 1e6)::bigint as started_at,
                    (extract(epoch from s.finished_at) * 1e6)::bigint as finished_at
               from stepwell.step_status s
               left join lateral (
                 select l.* from stepwell.step_attempts l
                  where l.task_id = s.task_id and l.position = s.position and s.error_kind is not null
                  order by l.attempt desc limit 1) a on true
              where s.task_id = $1
              order by s.position",
        )
        .bind(task_id)
        .fetch_all(&self.pool)
        .await
        .or_fail(self)
    }

    /// Which of these tasks are in a terminal state.
    pub async fn finished_among(&self, task_ids: &[Uuid]) -> Result<Vec<Uuid>> {
        sqlx::query_scalar(&format!(
            "select task_id from stepwell.tasks where task_id = any ($1) and state in {TERMINAL}
             union all
             select stepwell.as_uuid(message ->> 'task_id') from stepwell.dead_letters
              where queue = 'task_requests' and stepwell.as_uuid(message ->> 'task_id') = any ($1)"
        ))
        .bind(task_ids)
        .fetch_all(&self.pool)
        .await
        .or_fail(self)
    }

    /// Which of these are no tasks at all: without a row, not in the queue, not among the dead letters. One snapshot, in
    /// which a request that is being taken up is in one place or the other.
    pub async fn unknown_among(&self, task_ids: &[Uuid]) -> Result<Vec<Uuid>> {
        sqlx::query_scalar(
            "with missing as materialized (
               select id from unnest($1::uuid[]) as id
                where not exists (select from stepwell.tasks t where t.task_id = id))
             select id from missing
              where id not in (
                  select stepwell.as_uuid(message ->> 'task_id') from pgmq.q_task_requests
                   where stepwell.as_uuid(message ->> 'task_id') = any ($1)
                  union all
                  select stepwell.as_uuid(message ->> 'task_id') from stepwell.dead_letters
                   where queue = 'task_requests' and stepwell.as_uuid(message ->> 'task_id') = any ($1))",
        )
        .bind(task_ids)
        .fetch_all(&self.pool)
        .await
        .or_fail(self)
    }

    /// Why a task is not finished, in words.
    pub async fn waits_for(&self, task_id: Uuid) -> Result<Option<String>> {
        sqlx::query_scalar("select waits_for from stepwell.task_status where task_id = $1")
            .bind(task_id)
            .fetch_optional(&self.pool)
            .await
            .or_fail(self)
            .map(Option::flatten)
    }

    /// Cancels a task. Returns the state it is in now.
    ///
    /// # Errors
    /// [`Error::UnknownTask`].
    pub async fn cancel_task(&self, task_id: Uuid, reason: Option<&str>, actor: Option<&str>) -> Result<String> {
        self.repair("select stepwell.cancel_task($1, $2, $3)::text", task_id, reason, actor).await
    }

    /// Gives a task's failed steps fresh attempts. Returns the namespaces that got messages.
    ///
    /// # Errors
    /// [`Error::UnknownTask`]; [`Error::InvalidTransition`] when there is nothing to retry.
    pub async fn retry_task(&self, task_id: Uuid, reason: Option<&str>, actor: Option<&str>) -> Result<Vec<String>> {
        self.repair("select stepwell.retry_task($1, $2, $3)", task_id, reason, actor).await
    }

    async fn repair<T>(&self, call: &'static str, task_id: Uuid, reason: Option<&str>, actor: Option<&str>) -> Result<T>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(call).bind(task_id).bind(reason).bind(actor).fetch_one(&self.pool).await.map_err(|error| {
            match error.as_database_error().and_then(|e| e.code()).as_deref() {
                Some("SW004") => Error::UnknownTask { task_id },
                _ => self.failed(error),
            }
        })
    }
}
