//! What clients call: submit, look up, cancel, retry, resolve.

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
    /// The last attempts that did not succeed, oldest first, a JSON array of objects as text.
    #[serde(serialize_with = "as_json")]
    pub attempts: String,
    /// How far the handler said that it is, JSON text.
    #[serde(serialize_with = "as_optional_json")]
    pub progress: Option<String>,
    /// When the next attempt is due.
    pub run_at: Option<i64>,
    /// Worker of the last attempt.
    pub worker_id: Option<String>,
    /// When the last attempt started.
    pub started_at: Option<i64>,
    /// When the last attempt ended.
    pub finished_at: Option<i64>,
}

/// Something that a person or a rule did to a task. The time is microseconds since 1970.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct EventRow {
    /// `cancel`, `retry`, `resolve`, `replay` or `deadline`.
    pub kind: String,
    /// Who, as the caller said.
    pub actor: Option<String>,
    /// The role that was logged in at the database.
    pub database_user: String,
    /// Why.
    pub reason: Option<String>,
    /// More, such as the step: JSON text.
    #[serde(serialize_with = "as_optional_json")]
    pub details: Option<String>,
    /// When.
    pub happened_at: i64,
}

pub(super) fn as_json<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::from_str::<&RawValue>(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
}

fn as_optional_json<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => as_json(text, serializer),
        None => serializer.serialize_none(),
    }
}

/// Most attempts of a step that are shown: each can hold a backtrace.
const ATTEMPTS_SHOWN: i32 = 20;

/// [`TaskRow`]s.
const TASKS: &str = "
    select t.task_id, t.state::text, w.namespace || '/' || w.name as workflow, w.version, t.priority,
           t.context::text, t.error, t.idempotency_key, t.correlation_id, array_remove(t.tags, null) as tags,
           (extract(epoch from t.created_at) * 1e6)::bigint as created_at,
           (extract(epoch from t.finished_at) * 1e6)::bigint as finished_at
      from stepwell.tasks t join stepwell.workflows w using (workflow_id)";

impl Store {
    /// Submits requests, each the JSON text that `stepwell.submit_tasks` describes, all or none.
    pub async fn submit_tasks(&self, requests: &[String]) -> Result<Vec<Submitted>> {
        sqlx::query_as("select task_id, created from stepwell.submit_tasks($1::text[]::jsonb[]) order by request")
            .bind(requests)
            .fetch_all(self)
            .await
            .or_fail(self)
    }

    /// Those of these tasks that have a row, in no order.
    pub async fn find_tasks(&self, task_ids: &[Uuid]) -> Result<Vec<TaskRow>> {
        let sql = format!("{TASKS} where t.task_id = any ($1)");
        sqlx::query_as(&sql).bind(task_ids).fetch_all(self).await.or_fail(self)
    }

    /// A task, wherever it is: still in the queue, in its table, or among the dead letters. One snapshot.
    ///
    /// # Errors
    /// [`Error::UnknownTask`].
    pub async fn find_task(&self, task_id: Uuid) -> Result<TaskRow> {
        // Not by find_tasks, which is planned anew for each list of ids.
        let sql = format!("{TASKS} where t.task_id = $1");
        if let Some(task) = sqlx::query_as(&sql).bind(task_id).fetch_optional(self).await.or_fail(self)? {
            return Ok(task);
        }
        // Between the two looks the task may have got its row, so this one looks everywhere.
        sqlx::query_as(&format!(
            "{TASKS}
              where t.task_id = $1
             union all
             select $1, m.state, m.message ->> 'workflow', m.message ->> 'version',
                    coalesce(stepwell.priority_level(m.message ->> 'priority'), 0::smallint),
                    coalesce(m.message -> 'context', '{{}}')::text, m.reason, m.message ->> 'idempotency_key',
                    m.message ->> 'correlation_id', null, (extract(epoch from coalesce(m.enqueued_at, m.buried_at)) * 1e6)::bigint,
                    (extract(epoch from m.buried_at) * 1e6)::bigint
               from (select 'pending' as state, q.message, null::text as reason, q.enqueued_at, null::timestamptz as buried_at
                       from stepwell.queued_requests q where q.message ->> 'task_id' = $1::text
                     union all
                     select 'error', d.message, d.reason, d.enqueued_at, d.buried_at
                       from stepwell.dead_letters d
                      where d.queue = 'task_requests' and d.task_id = $1) m
              limit 1"
        ))
        .bind(task_id)
        .fetch_optional(self)
        .await
        .or_fail(self)?
        .ok_or(Error::UnknownTask { task_id })
    }

    /// The steps of a task in topological order; none while its request waits in the queue.
    pub async fn find_steps(&self, task_id: Uuid) -> Result<Vec<StepRow>> {
        sqlx::query_as(
            "select s.name, s.state, s.attempt, s.max_attempts, s.result::text, s.progress::text,
                    array(select d.name from stepwell.steps d
                           where d.task_id = s.task_id and d.position = any (s.depends_on) order by d.position) as depends_on,
                    case when s.error_kind is not null then (a.attempts -> -1)::text end as error,
                    coalesce(a.attempts, '[]')::text as attempts, s.worker_id,
                    (extract(epoch from s.run_at) * 1e6)::bigint as run_at,
                    (extract(epoch from s.started_at) * 1e6)::bigint as started_at,
                    (extract(epoch from s.finished_at) * 1e6)::bigint as finished_at
               from stepwell.step_status s
               cross join lateral (
                 select jsonb_agg(jsonb_build_object(
                          'attempt', l.attempt, 'kind', l.kind, 'class', l.error_class, 'code', l.code,
                          'message', l.message, 'backtrace', l.backtrace, 'causes', l.causes, 'context', l.context, 'metadata', l.metadata,
                          'worker', l.worker_id, 'started_at', (extract(epoch from l.started_at) * 1e6)::bigint,
                          'finished_at', (extract(epoch from l.finished_at) * 1e6)::bigint) order by l.attempt) as attempts
                   from (select k.* from stepwell.step_attempts k
                          where k.task_id = s.task_id and k.position = s.position
                          order by k.attempt desc limit $2) l) a
              where s.task_id = $1
              order by s.position",
        )
        .bind(task_id)
        .bind(ATTEMPTS_SHOWN)
        .fetch_all(self)
        .await
        .or_fail(self)
    }

    /// What people and rules did to a task, oldest first.
    pub async fn find_events(&self, task_id: Uuid) -> Result<Vec<EventRow>> {
        sqlx::query_as(
            "select kind, actor, database_user::text, reason, details::text,
                    (extract(epoch from happened_at) * 1e6)::bigint as happened_at
               from stepwell.task_events where task_id = $1 order by event_id",
        )
        .bind(task_id)
        .fetch_all(self)
        .await
        .or_fail(self)
    }

    /// Which of these tasks have a row.
    pub(crate) async fn tasks_among(&self, task_ids: &[Uuid]) -> Result<Vec<Uuid>> {
        sqlx::query_scalar(
            "select t.task_id from unnest($1::uuid[]) as i (id) join stepwell.tasks t on t.task_id = i.id",
        )
        .bind(task_ids)
        .fetch_all(self)
        .await
        .or_fail(self)
    }

    /// Those of these tasks that have ended, in no order.
    pub async fn finished_among(&self, task_ids: &[Uuid]) -> Result<Vec<Uuid>> {
        sqlx::query_scalar("select task_id from stepwell.known_tasks($1) where ended")
            .bind(task_ids)
            .fetch_all(self)
            .await
            .or_fail(self)
    }

    /// Those of these tasks that are not in the queue any more, in no order, and whether they have ended.
    pub async fn known_among(&self, task_ids: &[Uuid]) -> Result<Vec<(Uuid, bool)>> {
        sqlx::query_as("select task_id, ended from stepwell.known_tasks($1)")
            .bind(task_ids)
            .fetch_all(self)
            .await
            .or_fail(self)
    }

    /// Which of these are no tasks at all: without a row, not in the queue, not among the dead letters.
    pub async fn unknown_among(&self, task_ids: &[Uuid]) -> Result<Vec<Uuid>> {
        sqlx::query_scalar("select stepwell.unknown_tasks($1)").bind(task_ids).fetch_all(self).await.or_fail(self)
    }

    /// Why a task is not finished, in words.
    pub async fn waits_for(&self, task_id: Uuid) -> Result<Option<String>> {
        sqlx::query_scalar("select waits_for from stepwell.task_status where task_id = $1")
            .bind(task_id)
            .fetch_optional(self)
            .await
            .or_fail(self)
            .map(Option::flatten)
    }

    /// Cancels a task. Returns the state it is in now.
    ///
    /// # Errors
    /// [`Error::UnknownTask`].
    pub async fn cancel_task(&self, task_id: Uuid, reason: Option<&str>, actor: Option<&str>) -> Result<String> {
        let call = sqlx::query_scalar("select stepwell.cancel_task($1, $2, $3)::text");
        self.of_task(task_id, call.bind(task_id).bind(reason).bind(actor).fetch_one(self).await)
    }

    /// Gives failed steps of a task fresh attempts: those of these names, or all. Returns the namespaces that got
    /// messages.
    ///
    /// # Errors
    /// [`Error::UnknownTask`]; [`Error::InvalidTransition`] when there is nothing to retry.
    pub async fn retry_task(
        &self,
        task_id: Uuid,
        steps: Option<&[String]>,
        reason: Option<&str>,
        actor: Option<&str>,
    ) -> Result<Vec<String>> {
        let call = sqlx::query_scalar("select stepwell.retry_task($1, $2, $3, $4)");
        self.of_task(task_id, call.bind(task_id).bind(reason).bind(actor).bind(steps).fetch_one(self).await)
    }

    /// Gives a step its result by hand, JSON text. Returns the namespaces that got messages and the task's state.
    ///
    /// # Errors
    /// [`Error::UnknownTask`]; [`Error::InvalidTransition`] when the step, or its task, is past that, or not so far.
    pub async fn resolve_step(
        &self,
        task_id: Uuid,
        step: &str,
        result: &str,
        reason: Option<&str>,
        actor: Option<&str>,
    ) -> Result<(Vec<String>, String)> {
        let call = sqlx::query_as(
            "select coalesce(namespaces, '{}'), state::text from stepwell.resolve_step($1, $2, $3::text::jsonb, $4, $5)",
        );
        let call = call.bind(task_id).bind(step).bind(result).bind(reason).bind(actor);
        self.of_task(task_id, call.fetch_one(self).await)
    }

    /// The outcome of a call that raises SW004 when there is no such task.
    fn of_task<T>(&self, task_id: Uuid, outcome: Result<T, sqlx::Error>) -> Result<T> {
        outcome.map_err(|error| match error.as_database_error().and_then(|e| e.code()).as_deref() {
            Some("SW004") => Error::UnknownTask { task_id },
            _ => self.failed(error),
        })
    }
}
