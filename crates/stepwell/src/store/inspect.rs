//! What people look at: lists of tasks, the steps of one as they move, violations, migrations. A list has a limit, and
//! looks at a bounded number of rows however rare what it looks for is.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::migrate::MIGRATIONS;
use super::{OrFail, Store};
use crate::error::Result;

/// Most tasks that a list looks at, unless it is told otherwise. What filters ask for stands in no index, because an index
/// on a task's state would cost every task that runs.
pub const TASKS_LOOKED_AT: u32 = 50_000;
/// Most violations that are told.
const TOLD: i64 = 10_000;
/// Most waiting requests that are counted.
const COUNTED: i64 = 10_000;

/// Which tasks a list shows. What is empty or none restricts nothing.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// In one of these states.
    pub states: Vec<String>,
    /// Of workflows of this namespace.
    pub namespace: Option<String>,
    /// Of workflows of this name.
    pub name: Option<String>,
    /// Of workflows of this version.
    pub version: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// With this correlation id.
    pub correlation_id: Option<String>,
    /// Submitted since.
    pub since: Option<SystemTime>,
    /// Submitted before this one: the next page begins after the last task of the one before.
    pub before: Option<Uuid>,
    /// Most tasks to look at; none: [`TASKS_LOOKED_AT`].
    pub look_at: Option<u32>,
}

/// A task in a list. Times are microseconds since 1970.
#[derive(Debug, Clone, FromRow)]
pub struct TaskSummary {
    /// The task.
    pub task_id: Uuid,
    /// One of `pending in_progress complete error cancelled resolved`.
    pub state: String,
    /// `namespace/name` of its workflow.
    pub workflow: String,
    /// Version of its workflow.
    pub version: String,
    /// Priority, -10 to 10.
    pub priority: i16,
    /// How many steps it has.
    pub steps: i64,
    /// How many of them are complete or resolved.
    pub steps_done: i64,
    /// Its correlation id.
    pub correlation_id: Option<String>,
    /// Its tags.
    pub tags: Option<Vec<String>>,
    /// When it was submitted.
    pub created_at: i64,
    /// When it reached its terminal state.
    pub finished_at: Option<i64>,
}

/// Part of a list, the newest first.
#[derive(Debug, Clone)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<TaskSummary>,
    /// The last task that was looked at, when there are fewer than were asked for only because looking has a limit.
    pub looked_back_to: Option<Uuid>,
}

/// A step while somebody watches it. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StepGlance {
    /// Name of the step.
    pub name: String,
    /// Its state; `in_progress` while an unexpired claim holds it.
    pub state: String,
    /// Current or last attempt, 0 before the first.
    pub attempt: i16,
    /// How many attempts it has in all.
    pub max_attempts: i16,
    /// Why the last attempt did not succeed; none for a step that completed.
    pub error: Option<String>,
    /// How far the handler said that it is, JSON text.
    pub progress: Option<String>,
    /// When the next attempt is due.
    pub run_at: Option<i64>,
    /// When the last attempt started.
    pub started_at: Option<i64>,
    /// When the last attempt ended.
    pub finished_at: Option<i64>,
}

/// Something that must not be; see `stepwell.check_invariants()`.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct Violation {
    /// Which invariant.
    pub invariant: String,
    /// Of which task.
    pub task_id: Option<Uuid>,
    /// Of which step.
    pub step: Option<String>,
    /// What is wrong.
    pub details: Option<String>,
}

/// Requests that no orchestrator has taken yet. The time is microseconds since 1970.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct Backlog {
    /// How many, 10,000 at most.
    pub requests: i64,
    /// When the oldest was submitted.
    pub oldest_at: Option<i64>,
}

/// A migration of this program, or of the database, or of both. The time is microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MigrationStatus {
    /// Its number.
    pub version: i64,
    /// What it does.
    pub description: String,
    /// Where it stands.
    pub state: MigrationState,
    /// When it was applied.
    pub applied_at: Option<i64>,
}

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationState {
    /// The database has it.
    Applied,
    /// The database lacks it.
    Pending,
    /// The database has another migration of this number, of another build of this program.
    Differs,
    /// The database has it, this program does not know it: it is older than the database.
    Unknown,
}

impl Store {
    /// Up to `limit` tasks, the newest first.
    pub async fn list_tasks(&self, filter: &TaskFilter, limit: u32) -> Result<TaskPage> {
        let looked_at = filter.look_at.unwrap_or(TASKS_LOOKED_AT);
        // Ids sort by time, so the primary key has the order, the page and `since`. Everything else is looked at row by
        // row, in this order, until there are enough.
        let tasks: Vec<TaskSummary> = sqlx::query_as(
            "select t.task_id, t.state::text, w.namespace || '/' || w.name as workflow, w.version, t.priority,
                    s.steps, s.steps_done, t.correlation_id, array_remove(t.tags, null) as tags,
                    (extract(epoch from t.created_at) * 1e6)::bigint as created_at,
                    (extract(epoch from t.finished_at) * 1e6)::bigint as finished_at
               from (select k.* from (
                       select t.task_id, t.state, t.workflow_id, t.priority, t.correlation_id, t.tags, t.created_at,
                              t.finished_at
                         from stepwell.tasks t
                        where t.task_id < coalesce($1, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
                          and t.task_id >= coalesce($2, '00000000-0000-0000-0000-000000000000')
                        order by t.task_id desc limit $3) k
                      where (cardinality($4::text[]) = 0 or k.state::text = any ($4))
                        and (coalesce($5, $6, $7) is null or k.workflow_id = any (array(
                              select w.workflow_id from stepwell.workflows w
                               where w.namespace = coalesce($5, w.namespace) and w.name = coalesce($6, w.name)
                                 and w.version = coalesce($7, w.version))))
                        and ($8::text is null or $8 = any (k.tags))
                        and ($9::text is null or k.correlation_id = $9)
                      order by k.task_id desc limit $10) t
               join stepwell.workflows w using (workflow_id)
              cross join lateral (
                 select count(*) as steps, count(*) filter (where s.state in ('complete', 'resolved')) as steps_done
                   from stepwell.steps s where s.task_id = t.task_id) s
              order by t.task_id desc",
        )
        .bind(filter.before)
        .bind(filter.since.map(first_id))
        .bind(i64::from(looked_at))
        .bind(&filter.states)
        .bind(&filter.namespace)
        .bind(&filter.name)
        .bind(&filter.version)
        .bind(&filter.tag)
        .bind(&filter.correlation_id)
        .bind(i64::from(limit))
        .fetch_all(self)
        .await
        .or_fail(self)?;
        let looked_back_to = match tasks.len() as u64 == u64::from(limit) {
            true => None,
            false => self.last_looked_at(filter, looked_at).await?,
        };
        Ok(TaskPage { tasks, looked_back_to })
    }

    /// The last task that a list looks at, when it does not look at all of them.
    async fn last_looked_at(&self, filter: &TaskFilter, looked_at: u32) -> Result<Option<Uuid>> {
        sqlx::query_scalar(
            "select t.task_id from stepwell.tasks t
              where t.task_id < coalesce($1, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
                and t.task_id >= coalesce($2, '00000000-0000-0000-0000-000000000000')
              order by t.task_id desc offset $3 - 1 limit 1",
        )
        .bind(filter.before)
        .bind(filter.since.map(first_id))
        .bind(i64::from(looked_at))
        .fetch_optional(self)
        .await
        .or_fail(self)
    }

    /// The steps of a task as they are now, in topological order, without what is large.
    pub async fn glance_at_steps(&self, task_id: Uuid) -> Result<Vec<StepGlance>> {
        sqlx::query_as(
            "select s.name, s.state, s.attempt, s.max_attempts, s.progress::text, s.error_message as error,
                    (extract(epoch from s.run_at) * 1e6)::bigint as run_at,
                    (extract(epoch from s.started_at) * 1e6)::bigint as started_at,
                    (extract(epoch from s.finished_at) * 1e6)::bigint as finished_at
               from stepwell.step_status s where s.task_id = $1 order by s.position",
        )
        .bind(task_id)
        .fetch_all(self)
        .await
        .or_fail(self)
    }

    /// Requests that wait for an orchestrator.
    pub async fn backlog(&self) -> Result<Backlog> {
        sqlx::query_as(
            "select count(*) as requests, (extract(epoch from min(q.enqueued_at)) * 1e6)::bigint as oldest_at
               from (select r.enqueued_at from stepwell.queued_requests r limit $1) q",
        )
        .bind(COUNTED)
        .fetch_one(self)
        .await
        .or_fail(self)
    }

    /// What is in the database and must not be, up to 10,000 violations. Reads every table once, so it takes its time on a large one: give the
    /// store a call timeout for that.
    pub async fn check_invariants(&self) -> Result<Vec<Violation>> {
        sqlx::query_as("select invariant, task_id, step, details from stepwell.check_invariants() limit $1")
            .bind(TOLD)
            .fetch_all(self)
            .await
            .or_fail(self)
    }

    /// Every migration that this program or the database knows, by number.
    pub async fn migrations(&self) -> Result<Vec<MigrationStatus>> {
        let mut applied = self.applied_migrations().await?;
        let mut migrations: Vec<_> = MIGRATIONS
            .iter()
            .map(|known| {
                let place = applied.iter().position(|applied| applied.version == known.version);
                let applied = place.map(|place| applied.swap_remove(place));
                MigrationStatus {
                    version: known.version,
                    description: known.description.to_string(),
                    state: match &applied {
                        None => MigrationState::Pending,
                        Some(applied) if applied.checksum == *known.checksum => MigrationState::Applied,
                        Some(_) => MigrationState::Differs,
                    },
                    applied_at: applied.map(|applied| applied.applied_at),
                }
            })
            .collect();
        migrations.extend(applied.into_iter().map(|unknown| MigrationStatus {
            version: unknown.version,
            description: unknown.description,
            state: MigrationState::Unknown,
            applied_at: Some(unknown.applied_at),
        }));
        migrations.sort_by_key(|migration| migration.version);
        Ok(migrations)
    }
}

/// The smallest id of a moment: those below it were made before.
fn first_id(time: SystemTime) -> Uuid {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let milliseconds = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_of_a_moment_begin_with_its_first() {
        let id = Uuid::now_v7();
        let (seconds, nanoseconds) = id.get_timestamp().unwrap().to_unix();
        let moment = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        assert!(first_id(moment) <= id);
        assert!(first_id(moment + Duration::from_millis(1)) > id);
        assert_eq!(first_id(UNIX_EPOCH).to_string(), "00000000-0000-7000-8000-000000000000");
    }
}
