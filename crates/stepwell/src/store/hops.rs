//! What the orchestrator calls: the hops between the queues, and upkeep.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{Connection, FromRow, PgConnection, Row};
use uuid::Uuid;

use super::claims::interval;
use super::{ClaimedRow, ClaimedStep, OrFail, Store};
use crate::config;
use crate::error::Result;
use crate::telemetry::mask_text;

/// A call whose commit does not wait for the disk, unless it claims steps. When PostgreSQL crashes in the next moment, no task has
/// been made, and its request is still in the queue; what anybody relies on comes with a later commit, which waits for this one
/// too. A claim lasts, because the attempt counts: a step that makes PostgreSQL crash would begin for ever.
const INITIALIZE: &str = "
    with lazily as materialized (select current_setting('synchronous_commit') as usual,
                                        set_config('synchronous_commit', 'off', true))
    select c.* from lazily, stepwell.initialize_tasks($1, $2, $3, $4, $5, $6) c
     where case when c.claim_id is not null then set_config('synchronous_commit', lazily.usual, true) is not null else true end";

/// How often a message is tried whose failure says something else each time.
const BURY_ATTEMPTS: u32 = 5;

/// Outcome of one `initialize_tasks`.
#[derive(Debug, Clone, Default, FromRow)]
pub struct Initialized {
    /// Requests taken from the queue.
    pub popped: i32,
    /// Tasks that started.
    pub initialized: i32,
    /// Tasks that are in error at once, because the request was bad.
    pub rejected: i32,
    /// Tasks whose context has still to be checked.
    pub unvalidated: i32,
    /// Requests of which no task can be made.
    pub dead: i32,
    /// Namespaces whose queues got messages.
    pub namespaces: Vec<String>,
    /// Tasks that reached a terminal state.
    pub finished: Vec<Uuid>,
    /// Those with a trace, a JSON array as text, when it was asked for.
    pub traces: Option<String>,
    /// Steps that are claimed now for the worker that was named.
    #[sqlx(skip)]
    pub claimed: Vec<ClaimedStep>,
}

impl Initialized {
    /// From what `initialize_tasks` returns: the last row has the outcome, each a step unless there is none.
    ///
    /// # Errors
    /// When the rows are others.
    pub fn read(rows: &[PgRow]) -> Result<(Self, Vec<ClaimedRow>), sqlx::Error> {
        with_claimed(rows)
    }
}

/// Outcome of one `begin_task`.
#[derive(Debug, Clone, FromRow)]
pub struct Begun {
    /// The request's task.
    #[sqlx(rename = "submitted")]
    pub task_id: Uuid,
    /// False when an idempotency key had settled on that task before.
    pub created: bool,
    /// What became of it; nothing popped: it stands in the queue.
    #[sqlx(flatten)]
    pub initialized: Initialized,
}

impl Begun {
    /// From what `begin_task` returns: the last row has the outcome, each a step unless there is none.
    ///
    /// # Errors
    /// When the rows are others.
    pub fn read(rows: &[PgRow]) -> Result<(Self, Vec<ClaimedRow>), sqlx::Error> {
        with_claimed(rows)
    }
}

/// What the last row says, and the steps of all rows that have one.
fn with_claimed<T: for<'r> FromRow<'r, PgRow>>(rows: &[PgRow]) -> Result<(T, Vec<ClaimedRow>), sqlx::Error> {
    let outcome = T::from_row(rows.last().ok_or(sqlx::Error::RowNotFound)?)?;
    let mut claimed = Vec::new();
    for row in rows {
        if row.try_get::<Option<i64>, _>("claim_id")?.is_some() {
            claimed.push(ClaimedRow::from_row(row)?);
        }
    }
    Ok((outcome, claimed))
}

/// Outcome of one `apply_results`.
#[derive(Debug, Clone, Default, FromRow)]
pub struct Applied {
    /// Results taken from the queue.
    pub popped: i32,
    /// Steps that are complete.
    pub completed: i32,
    /// Steps that wait for another attempt.
    pub retried: i32,
    /// Steps that ended in error.
    pub failed: i32,
    /// Results that the fence refused.
    pub stale: i32,
    /// Messages that are no results.
    pub dead: i32,
    /// Namespaces whose queues got messages.
    pub namespaces: Vec<String>,
    /// Tasks that reached a terminal state.
    pub finished: Vec<Uuid>,
    /// Those results that have a trace, a JSON array as text, when it was asked for.
    pub traces: Option<String>,
    /// Those of the retried steps whose attempt took too long.
    pub timed_out: i32,
    /// Those of the finished tasks that are in error.
    pub errored: i32,
}

/// Results of claimed steps, for `settle_results`; the lists run in parallel.
#[derive(Debug, Clone)]
pub struct StepResults<'a> {
    /// The claims that hold the steps.
    pub claim_ids: Vec<i64>,
    /// The steps' tasks.
    pub task_ids: Vec<Uuid>,
    /// The steps' places in their tasks.
    pub positions: Vec<i16>,
    /// Which attempts they were.
    pub attempts: Vec<i16>,
    /// What became of them.
    pub said: Said<'a>,
}

/// What became of steps.
#[derive(Debug, Clone)]
pub enum Said<'a> {
    /// They are all complete.
    Values {
        /// JSON texts: what the handlers returned.
        values: Vec<&'a str>,
        /// After how many microseconds.
        durations: Vec<i64>,
    },
    /// As `report_results` takes them: JSON texts that say the rest, too.
    Messages(Vec<Cow<'a, str>>),
}

/// Outcome of one `settle_results`.
#[derive(Debug, Clone, Default, FromRow)]
pub struct Settled {
    /// As [`Store::report_results`] returns them.
    pub refused: Vec<i32>,
    /// What became of the others.
    #[sqlx(flatten)]
    pub applied: Applied,
    /// Steps that are claimed for the same worker now.
    #[sqlx(skip)]
    pub claimed: Vec<ClaimedStep>,
}

impl Settled {
    /// From what `settle_results` returns: the last row has the outcome, each a step unless there is none.
    ///
    /// # Errors
    /// When the rows are others.
    pub fn read(rows: &[PgRow]) -> Result<(Self, Vec<ClaimedRow>), sqlx::Error> {
        with_claimed(rows)
    }
}

/// What a worker would take of the steps that come next, without their going through a queue.
#[derive(Debug, Clone, Copy)]
pub struct Appetite<'a> {
    /// The worker.
    pub worker_id: &'a str,
    /// Of these namespaces.
    pub namespaces: &'a [String],
    /// At most so many.
    pub steps: u32,
    /// For so long.
    pub lease: Duration,
}

/// Outcome of one `wake_due_steps`.
#[derive(Debug, Clone, Default, FromRow)]
pub struct Woken {
    /// Timers that were due.
    pub popped: i32,
    /// Steps that got their next attempt.
    pub woken: i32,
    /// Namespaces whose queues got messages.
    pub namespaces: Vec<String>,
}

/// Outcome of one `recover_claims`.
#[derive(Debug, Clone, Default, FromRow)]
pub struct Recovered {
    /// Claims that had expired.
    pub popped: i32,
    /// Steps that went back to their queue.
    pub recovered: i32,
    /// Steps that had no attempt left.
    pub failed: i32,
    /// Namespaces whose queues got messages.
    pub namespaces: Vec<String>,
    /// Tasks that reached a terminal state.
    pub finished: Vec<Uuid>,
}

/// Outcome of one `fail_overdue_tasks`.
#[derive(Debug, Clone, Default, FromRow)]
pub struct Overdue {
    /// Deadlines that had passed.
    pub popped: i32,
    /// Steps that ended in error with their tasks.
    pub failed: i32,
    /// Tasks that were not finished by their deadline, and are in error now.
    pub finished: Vec<Uuid>,
}

/// Outcome of one `dispatch_steps`.
#[derive(Debug, Clone, Default, FromRow)]
pub struct Dispatched {
    /// Steps that came into queues.
    pub dispatched: i32,
    /// Namespaces whose queues got messages.
    pub namespaces: Vec<String>,
}

/// What is due by time.
#[derive(Debug, Clone, Copy, FromRow)]
pub(crate) struct Upkeep {
    /// A claim has expired.
    pub(crate) expired: bool,
    /// The time of a retry has come.
    pub(crate) due: bool,
    /// The deadline of a task has passed.
    pub(crate) overdue: bool,
    /// Steps wait for their turn.
    pub(crate) ready: bool,
}

/// A pending task whose context has to be checked against its workflow's input schema.
#[derive(Debug, Clone, FromRow)]
pub struct UnvalidatedTask {
    /// The task.
    pub task_id: Uuid,
    /// Its context, JSON text.
    pub context: String,
    /// The schema, JSON text.
    pub input_schema: String,
}

impl Store {
    /// Turns up to `batch` requests into tasks; `traced`: tells which have a trace. With an appetite, the first steps of a task
    /// that comes alone may come back claimed.
    pub async fn initialize_tasks(
        &self,
        batch: u32,
        traced: bool,
        appetite: Option<Appetite<'_>>,
    ) -> Result<Initialized> {
        let rows = sqlx::query(INITIALIZE)
            .bind(i32::try_from(batch).unwrap_or(i32::MAX))
            .bind(traced)
            .bind(appetite.map(|appetite| appetite.worker_id))
            .bind(appetite.map_or(&[][..], |appetite| appetite.namespaces))
            .bind(appetite.map_or(0, |appetite| i32::try_from(appetite.steps).unwrap_or(i32::MAX)))
            .bind(appetite.map(|appetite| interval(appetite.lease)))
            .fetch_all(self)
            .await;
        let (mut outcome, claimed) = rows.and_then(|rows| Initialized::read(&rows)).or_fail(self)?;
        let worker_id = appetite.map_or("", |appetite| appetite.worker_id);
        outcome.claimed = self.describe_if_possible(worker_id, claimed).await;
        Ok(outcome)
    }

    /// Submits a request, as [`submit_tasks`](Self::submit_tasks), and makes its task in the same transaction, with its first
    /// steps claimed: unless others wait, or it is not that simple. `traced`: tells whether it has a trace.
    pub async fn begin_task(&self, request: &str, traced: bool, appetite: Appetite<'_>) -> Result<Begun> {
        let rows = sqlx::query("select * from stepwell.begin_task($1::text::jsonb, $2, $3, $4, $5, $6)")
            .bind(request)
            .bind(traced)
            .bind(appetite.worker_id)
            .bind(appetite.namespaces)
            .bind(i32::try_from(appetite.steps).unwrap_or(i32::MAX))
            .bind(interval(appetite.lease))
            .fetch_all(self)
            .await;
        let (mut begun, claimed) = rows.and_then(|rows| Begun::read(&rows)).or_fail(self)?;
        begun.initialized.claimed = self.describe_if_possible(appetite.worker_id, claimed).await;
        Ok(begun)
    }

    /// Applies up to `batch` results; `traced`: tells which have a trace.
    pub async fn apply_results(&self, batch: u32, traced: bool) -> Result<Applied> {
        self.hop(
            match traced {
                true => "select * from stepwell.apply_results($1, true)",
                false => "select * from stepwell.apply_results($1)",
            },
            batch,
        )
        .await
    }

    /// Reports results, as [`report_results`](Self::report_results), and applies them in the same transaction; `batch`: at
    /// most this many steps are dispatched then. With an appetite, the next steps may come back claimed.
    pub async fn settle_results(
        &self,
        worker_id: &str,
        results: &StepResults<'_>,
        batch: u32,
        traced: bool,
        appetite: Option<Appetite<'_>>,
    ) -> Result<Settled> {
        let call =
            "select * from stepwell.settle_results($1, $2, $3, $4, $5, $6::text[]::jsonb[], $7, $8::text[]::jsonb[],
                                                         $9, $10, $11, $12, $13)";
        let (values, durations, messages) = match &results.said {
            Said::Values { values, durations } => (Some(values), Some(durations), None),
            Said::Messages(messages) => (None, None, Some(messages.iter().map(Cow::as_ref).collect::<Vec<_>>())),
        };
        let rows = sqlx::query(call)
            .bind(worker_id)
            .bind(&results.claim_ids)
            .bind(&results.task_ids)
            .bind(&results.positions)
            .bind(&results.attempts)
            .bind(values)
            .bind(durations)
            .bind(messages)
            .bind(i32::try_from(batch).unwrap_or(i32::MAX))
            .bind(traced)
            .bind(appetite.map_or(&[][..], |appetite| appetite.namespaces))
            .bind(appetite.map_or(0, |appetite| i32::try_from(appetite.steps).unwrap_or(i32::MAX)))
            .bind(appetite.map(|appetite| interval(appetite.lease)))
            .fetch_all(self)
            .await;
        let (mut settled, claimed) = rows.and_then(|rows| Settled::read(&rows)).or_fail(self)?;
        settled.claimed = self.describe_if_possible(worker_id, claimed).await;
        Ok(settled)
    }

    /// Enqueues the next attempt of up to `batch` steps whose retry is due.
    pub async fn wake_due_steps(&self, batch: u32) -> Result<Woken> {
        self.hop("select * from stepwell.wake_due_steps($1)", batch).await
    }

    /// Lets up to `batch` ready steps come into the queues of their namespaces, as far as there is room.
    pub async fn dispatch_steps(&self, batch: u32) -> Result<Dispatched> {
        self.hop("select * from stepwell.dispatch_steps($1)", batch).await
    }

    /// Writes what dispatch goes by: the window of queues, and what a level of priority is worth.
    pub async fn configure_dispatch(&self, settings: &config::Dispatch) -> Result<()> {
        let call = sqlx::query("select stepwell.configure_dispatch($1, $2)");
        let window = i32::try_from(settings.window).unwrap_or(i32::MAX);
        call.bind(window).bind(interval(settings.boost)).execute(self).await.or_fail(self).map(drop)
    }

    /// Recovers up to `batch` expired claims.
    pub async fn recover_claims(&self, batch: u32) -> Result<Recovered> {
        self.hop("select * from stepwell.recover_claims($1)", batch).await
    }

    /// Whether a message stands in `queue`, at a fraction of what a hop costs: what an idle loop asks now and then.
    pub(crate) async fn has_messages(&self, queue: &str) -> Result<bool> {
        sqlx::query_scalar("select stepwell.queue_has_messages($1)").bind(queue).fetch_one(self).await.or_fail(self)
    }

    /// Ends up to `batch` tasks whose deadline has passed.
    pub async fn fail_overdue_tasks(&self, batch: u32) -> Result<Overdue> {
        self.hop("select * from stepwell.fail_overdue_tasks($1)", batch).await
    }

    /// What is due: a cheap look.
    pub(crate) async fn has_upkeep(&self) -> Result<Upkeep> {
        sqlx::query_as(
            "select exists (select from stepwell.claims c where c.expires_at <= n.now) as expired,
                    exists (select from stepwell.step_timers t where t.due_at <= n.now) as due,
                    exists (select from stepwell.task_deadlines d where d.due_at <= n.now) as overdue,
                    exists (select from stepwell.ready_steps) or exists (select from stepwell.touched_keys) as ready
               from (select stepwell.now() as now offset 0) n",
        )
        .fetch_one(self)
        .await
        .or_fail(self)
    }

    /// Whether a task waits for its context to be checked.
    pub(crate) async fn has_unvalidated_tasks(&self) -> Result<bool> {
        sqlx::query_scalar("select exists (select from stepwell.unvalidated_tasks)").fetch_one(self).await.or_fail(self)
    }

    async fn hop<T>(&self, call: &'static str, batch: u32) -> Result<T>
    where
        T: for<'r> FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
    {
        sqlx::query_as(call).bind(i32::try_from(batch).unwrap_or(i32::MAX)).fetch_one(self).await.or_fail(self)
    }

    /// Checks up to `batch` pending tasks with `judge` (none: good, else why not) and admits or rejects them, in one
    /// transaction. Returns how many there were, the namespaces that got messages and the tasks that were rejected.
    pub async fn admit_tasks(
        &self,
        batch: u32,
        judge: impl Fn(&UnvalidatedTask) -> Option<String> + Send,
    ) -> Result<(usize, Vec<String>, Vec<Uuid>)> {
        let sessions = self.sessions;
        let call = async move |connection: &mut PgConnection| {
            let mut transaction = connection.begin().await?;
            let tasks: Vec<UnvalidatedTask> = sqlx::query_as("select * from stepwell.take_unvalidated_tasks($1)")
                .bind(i32::try_from(batch).unwrap_or(i32::MAX))
                .persistent(sessions)
                .fetch_all(&mut *transaction)
                .await?;
            if tasks.is_empty() {
                return Ok((0, Vec::new(), Vec::new()));
            }
            let ids: Vec<Uuid> = tasks.iter().map(|task| task.task_id).collect();
            let errors: Vec<Option<String>> = tasks.iter().map(judge).collect();
            let (namespaces, rejected) = sqlx::query_as("select * from stepwell.admit_tasks($1, $2)")
                .bind(&ids)
                .bind(&errors)
                .persistent(sessions)
                .fetch_one(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok((tasks.len(), namespaces, rejected))
        };
        self.bounded(call).await.or_fail(self)
    }

    /// Takes the oldest message of `queue` out of the way: to the dead letters when it fails again by its own fault, with a reason
    /// that has no secrets in it. `internal`: also when PostgreSQL meets an internal error with it. Returns whether it did.
    ///
    /// # Errors
    /// What it fails with, when that is not the message's fault: it stays in the queue.
    pub async fn bury_message(&self, queue: &str, internal: bool) -> Result<bool> {
        let mut problem: Option<String> = None;
        let mut reason: Option<String> = None;
        for attempt in 1.. {
            // One that says something else each time is buried with what it said last.
            let same = problem.filter(|_| attempt < BURY_ATTEMPTS);
            problem = sqlx::query_scalar("select stepwell.bury_message($1, $2, $3, $4)")
                .bind(queue)
                .bind(same)
                .bind(&reason)
                .bind(internal)
                .fetch_one(self)
                .await
                .or_fail(self)?;
            match &problem {
                Some(said) => reason = Some(mask_text(said).into_owned()),
                None => break,
            }
        }
        Ok(reason.is_some())
    }
}
