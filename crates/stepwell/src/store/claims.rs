//! What workers call: claim, report, release, heartbeat.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::types::PgInterval;
use sqlx::types::chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{ClaimedRow, OrFail, Store};
use crate::error::Result;
use crate::telemetry::traces::StepTrace;

/// A step that a worker has claimed: all that its handler needs. User JSON is text, never parsed here.
#[derive(Debug, Clone)]
pub struct ClaimedStep {
    /// The claim that holds it.
    pub claim_id: i64,
    /// The task.
    pub task_id: Uuid,
    /// Position of the step in the task.
    pub position: i16,
    /// Which attempt this is, from 1.
    pub attempt: i16,
    /// How many attempts the step has in all.
    pub max_attempts: i16,
    /// `namespace/name` of the workflow.
    pub workflow: String,
    /// Version of the workflow.
    pub version: String,
    /// Name of the step.
    pub name: String,
    /// Name of the code that executes it.
    pub handler: String,
    /// Milliseconds that this attempt may take.
    pub timeout_ms: Option<i64>,
    /// The step's configuration, JSON text.
    pub config: Option<String>,
    /// The task's context, JSON text.
    pub context: String,
    /// Results of the steps it depends on by name, JSON text; none when it depends on none.
    pub results: Option<String>,
    /// The task's correlation id.
    pub correlation_id: Option<String>,
    /// W3C trace context of the task, JSON text as it was submitted.
    pub trace_context: Option<String>,
    /// The trace that it belongs to; none when it has no trace context, or one that cannot be read.
    pub trace: Option<StepTrace>,
    /// Milliseconds that its message had been in the queue, by the database's clock.
    pub waited_ms: Option<i64>,
    /// When the claim that brought it set out.
    pub claimed: Option<Instant>,
    /// Which of its worker's databases it came from.
    pub lane: usize,
}

/// Why an attempt that is under way is no longer wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The task was cancelled.
    Cancelled,
    /// The step has ended otherwise: resolved by hand, or its task is overdue.
    Settled,
    /// The claim expired, another worker has the step, or had it.
    LeaseLost,
}

/// Claimed steps by claim, task and position, in parallel.
#[derive(Debug, Default)]
struct Columns {
    claims: Vec<i64>,
    tasks: Vec<Uuid>,
    positions: Vec<i16>,
}

impl Columns {
    fn of(steps: &[Arc<ClaimedStep>]) -> Self {
        let mut columns = Self::default();
        steps.iter().for_each(|step| columns.push(step.claim_id, step.task_id, step.position));
        columns
    }

    fn of_rows(rows: &[ClaimedRow]) -> Self {
        let mut columns = Self::default();
        rows.iter().for_each(|row| columns.push(row.claim_id, row.task_id, row.position));
        columns
    }

    fn push(&mut self, claim: i64, task: Uuid, position: i16) {
        self.claims.push(claim);
        self.tasks.push(task);
        self.positions.push(position);
    }
}

impl Store {
    /// Makes sure that a namespace has its queue.
    pub(crate) async fn create_queue(&self, namespace: &str) -> Result<()> {
        let create = sqlx::query("select stepwell.create_queue($1)").bind(format!("{namespace}_queue"));
        create.execute(self).await.or_fail(self)?;
        Ok(())
    }

    /// Claims up to `batch` steps of a namespace for `lease`.
    pub async fn claim_steps(
        &self,
        namespace: &str,
        batch: u32,
        worker_id: &str,
        lease: Duration,
    ) -> Result<Vec<ClaimedStep>> {
        let rows = sqlx::query_as("select * from stepwell.claim_steps($1, $2, $3, $4)")
            .bind(namespace)
            .bind(i32::try_from(batch).unwrap_or(i32::MAX))
            .bind(worker_id)
            .bind(interval(lease))
            .fetch_all(self)
            .await
            .or_fail(self)?;
        self.describe(worker_id, rows).await
    }

    /// Reports results, each the JSON text that `stepwell.report_results` describes. Returns the 1-based places of those
    /// that were refused because the lease was lost.
    pub async fn report_results(&self, worker_id: &str, results: &[String]) -> Result<Vec<i32>> {
        sqlx::query_scalar("select stepwell.report_results($1, $2::text[]::jsonb[])")
            .bind(worker_id)
            .bind(results)
            .fetch_one(self)
            .await
            .or_fail(self)
    }

    /// Gives steps back unexecuted, the attempt not counted. Returns how many were still held.
    pub async fn release_steps(&self, worker_id: &str, steps: &[Arc<ClaimedStep>], delay: Duration) -> Result<i32> {
        self.release(worker_id, Columns::of(steps), delay).await
    }

    /// The same for steps of which no more is known than that they are claimed.
    pub(super) async fn release_rows(&self, worker_id: &str, rows: &[ClaimedRow]) -> Result<i32> {
        self.release(worker_id, Columns::of_rows(rows), Duration::ZERO).await
    }

    /// Ends such steps in error at once, because nobody has their handler. Returns the tasks that are in error now.
    pub(super) async fn fail_rows(&self, worker_id: &str, rows: &[ClaimedRow]) -> Result<Vec<Uuid>> {
        self.release_columns_unhandled(worker_id, &Columns::of_rows(rows), Duration::ZERO, Duration::ZERO).await
    }

    async fn release(&self, worker_id: &str, columns: Columns, delay: Duration) -> Result<i32> {
        sqlx::query_scalar("select stepwell.release_steps($1, $2, $3, $4, $5)")
            .bind(worker_id)
            .bind(columns.claims)
            .bind(columns.tasks)
            .bind(columns.positions)
            .bind(whole_seconds(delay))
            .fetch_one(self)
            .await
            .or_fail(self)
    }

    /// Gives steps back whose handler this worker lacks; after `give_up` without a handler they end in error. Returns
    /// the tasks that did.
    pub async fn release_unhandled(
        &self,
        worker_id: &str,
        steps: &[Arc<ClaimedStep>],
        delay: Duration,
        give_up: Duration,
    ) -> Result<Vec<Uuid>> {
        self.release_columns_unhandled(worker_id, &Columns::of(steps), delay, give_up).await
    }

    async fn release_columns_unhandled(
        &self,
        worker_id: &str,
        columns: &Columns,
        delay: Duration,
        give_up: Duration,
    ) -> Result<Vec<Uuid>> {
        sqlx::query_scalar("select stepwell.release_unhandled($1, $2, $3, $4, $5, $6)")
            .bind(worker_id)
            .bind(&columns.claims)
            .bind(&columns.tasks)
            .bind(&columns.positions)
            .bind(whole_seconds(delay))
            .bind(interval(give_up))
            .fetch_one(self)
            .await
            .or_fail(self)
    }

    /// Stores how far an attempt is, JSON text. Returns why the attempt is no longer this worker's; none while it is.
    pub async fn report_progress(
        &self,
        worker_id: &str,
        step: &ClaimedStep,
        progress: &str,
    ) -> Result<Option<AttemptEnd>> {
        let end: Option<String> =
            sqlx::query_scalar("select stepwell.report_progress($1, $2, $3, $4, $5, $6::text::jsonb)")
                .bind(worker_id)
                .bind(step.claim_id)
                .bind(step.task_id)
                .bind(step.position)
                .bind(step.attempt)
                .bind(progress)
                .fetch_one(self)
                .await
                .or_fail(self)?;
        Ok(end.map(|end| match end.as_str() {
            "cancelled" => AttemptEnd::Cancelled,
            "ended" => AttemptEnd::Settled,
            _ => AttemptEnd::LeaseLost,
        }))
    }

    /// Gives back what a worker has claimed before a moment, the claims that it knows aside, the attempts not counted. Returns the
    /// namespaces whose queues got messages.
    pub async fn release_unknown_claims(
        &self,
        worker_id: &str,
        known: &[i64],
        before: DateTime<Utc>,
    ) -> Result<Vec<String>> {
        sqlx::query_scalar("select stepwell.release_unknown_claims($1, $2, $3)")
            .bind(worker_id)
            .bind(known)
            .bind(before)
            .fetch_one(self)
            .await
            .or_fail(self)
    }

    /// The clock that decides: the database's.
    pub(crate) async fn clock(&self) -> Result<DateTime<Utc>> {
        sqlx::query_scalar("select stepwell.now()").fetch_one(self).await.or_fail(self)
    }

    /// Extends claims of a worker by `lease` from now. Returns those that still exist.
    pub async fn heartbeat(&self, worker_id: &str, claims: &[i64], lease: Duration) -> Result<Vec<i64>> {
        sqlx::query_scalar("select stepwell.heartbeat($1, $2, $3)")
            .bind(worker_id)
            .bind(claims)
            .bind(interval(lease))
            .fetch_all(self)
            .await
            .or_fail(self)
    }
}

pub(super) fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

/// pgmq counts delays in seconds: rounded up, so that a short delay does not become none.
fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}
