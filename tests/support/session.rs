//! One connection that speaks the SQL functions, as a client, worker or orchestrator in any language would.

use anyhow::{ensure, Result};
use sqlx::postgres::PgRow;
use sqlx::{Connection, FromRow, PgConnection};
use stepwell::store::{
    Applied, Begun, ClaimedRow, ClaimedStep, Dispatched, Initialized, Overdue, Recovered, Settled, StepDefinition,
    Submitted, Woken,
};
use stepwell::Workflow;
use uuid::Uuid;

/// The namespace of the workflows that the tests define.
pub const NAMESPACE: &str = "test";
/// Who claims and reports when it does not matter who.
pub const WORKER: &str = "worker";

/// What a function returns that ended no task.
pub const NO_TASKS: [Uuid; 0] = [];

/// The outcome of a statement; an error keeps what PostgreSQL said.
pub type Answer<T> = std::result::Result<T, sqlx::Error>;

/// A connection of its own.
pub struct Session {
    connection: PgConnection,
    pid: i32,
}

impl Session {
    /// Connects.
    pub async fn connect(url: &str) -> Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await?;
        Ok(Self { connection, pid })
    }

    /// Its process in PostgreSQL.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Runs statements. Returns how many rows the last one changed.
    pub async fn run(&mut self, sql: &str) -> Answer<u64> {
        use sqlx::Executor;
        Ok(self.connection.execute(sql).await?.rows_affected())
    }

    /// The one value of the one row.
    pub async fn value<T>(&mut self, sql: &str) -> Answer<T>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(sql).fetch_one(&mut self.connection).await
    }

    /// The one column of all rows.
    pub async fn column<T>(&mut self, sql: &str) -> Answer<Vec<T>>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(sql).fetch_all(&mut self.connection).await
    }

    /// The one value, of a statement about a task.
    pub async fn of_task<T>(&mut self, sql: &str, task: Uuid) -> Answer<T>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(sql).bind(task).fetch_one(&mut self.connection).await
    }

    /// All rows of a statement.
    pub async fn rows<T: for<'r> FromRow<'r, PgRow> + Send + Unpin>(&mut self, sql: &str) -> Answer<Vec<T>> {
        sqlx::query_as(sql).fetch_all(&mut self.connection).await
    }

    /// What the database says about a task, in a row of any shape.
    pub async fn row<T: for<'r> FromRow<'r, PgRow> + Send + Unpin>(&mut self, sql: &str, task: Uuid) -> Answer<T> {
        sqlx::query_as(sql).bind(task).fetch_one(&mut self.connection).await
    }

    /// Sets this session's clock; from here on it stands still.
    pub async fn set_clock(&mut self, time: &str) -> Answer<()> {
        self.value::<String>(&format!("select set_config('stepwell.fake_now', '{time}', false)")).await.map(drop)
    }

    /// Moves this session's clock on, to the microsecond.
    pub async fn advance_clock(&mut self, interval: &str) -> Answer<()> {
        let sql =
            format!("select set_config('stepwell.fake_now', (stepwell.now() + interval '{interval}')::text, false)");
        self.value::<String>(&sql).await.map(drop)
    }

    pub async fn register(&mut self, workflow: &Workflow) -> Answer<i32> {
        sqlx::query_scalar("select stepwell.register_workflow($1::text::jsonb)")
            .bind(workflow.to_json())
            .fetch_one(&mut self.connection)
            .await
    }

    /// Submits requests as they are, JSON texts.
    pub async fn submit(&mut self, requests: &[impl AsRef<str>]) -> Answer<Vec<Submitted>> {
        let requests: Vec<&str> = requests.iter().map(AsRef::as_ref).collect();
        sqlx::query_as("select task_id, created from stepwell.submit_tasks($1::text[]::jsonb[]) order by request")
            .bind(&requests)
            .fetch_all(&mut self.connection)
            .await
    }

    /// Submits one task of a workflow.
    pub async fn submit_one(&mut self, workflow: &str, context: &str) -> Answer<Uuid> {
        let request = format!(r#"{{"workflow": "{workflow}", "context": {context}}}"#);
        Ok(self.submit(&[request]).await?[0].task_id)
    }

    /// Submits a request for [`WORKER`], which finds its queues empty and takes up to `take` first steps.
    pub async fn begin(&mut self, request: &str, take: i32) -> Answer<Begun> {
        let call = "select * from stepwell.begin_task($1::text::jsonb, false, $2, array[$3], $4, '60 s')";
        let call = sqlx::query(call).bind(request).bind(WORKER).bind(NAMESPACE).bind(take);
        let (mut begun, claimed) = Begun::read(&call.fetch_all(&mut self.connection).await?)?;
        begun.initialized.claimed = self.describe(claimed).await?;
        Ok(begun)
    }

    /// Registers a workflow and starts a task of it.
    pub async fn start(&mut self, workflow: &Workflow) -> Result<Uuid> {
        self.register(workflow).await?;
        let task = self.submit_one(&workflow.full_name(), "{}").await?;
        let initialized = self.initialize(1_000).await?;
        ensure!(initialized.initialized == 1, "{initialized:?}");
        Ok(task)
    }

    pub async fn initialize(&mut self, batch: i32) -> Answer<Initialized> {
        self.hop("initialize_tasks", batch).await
    }

    /// The same for [`WORKER`], which finds its queues empty and takes up to `take` first steps.
    pub async fn initialize_for(&mut self, batch: i32, take: i32) -> Answer<Initialized> {
        let call = "select * from stepwell.initialize_tasks($1, false, $2, array[$3], $4, '60 s')";
        let call = sqlx::query(call).bind(batch).bind(WORKER).bind(NAMESPACE).bind(take);
        let (mut initialized, claimed) = Initialized::read(&call.fetch_all(&mut self.connection).await?)?;
        initialized.claimed = self.describe(claimed).await?;
        Ok(initialized)
    }

    pub async fn apply(&mut self, batch: i32) -> Answer<Applied> {
        self.hop("apply_results", batch).await
    }

    pub async fn dispatch(&mut self, batch: i32) -> Answer<Dispatched> {
        self.hop("dispatch_steps", batch).await
    }

    /// For tests of several that apply results or make tasks at once, as when messages pile up: nobody leaves them to another.
    pub async fn work_at_once(&mut self) -> Answer<()> {
        for function in ["others_apply", "others_initialize"] {
            let sql = format!(
                "create or replace function stepwell.{function}() returns boolean language sql as 'select false'"
            );
            self.run(&sql).await?;
        }
        Ok(())
    }

    /// For tests that want every ready step in its queue at once.
    pub async fn widen_queues(&mut self) -> Answer<()> {
        self.run("select stepwell.configure_dispatch(1000000, '60 s')").await.map(drop)
    }

    pub async fn wake_due(&mut self, batch: i32) -> Answer<Woken> {
        self.hop("wake_due_steps", batch).await
    }

    pub async fn recover(&mut self, batch: i32) -> Answer<Recovered> {
        self.hop("recover_claims", batch).await
    }

    async fn hop<T: for<'r> FromRow<'r, PgRow> + Send + Unpin>(&mut self, function: &str, batch: i32) -> Answer<T> {
        let call = format!("select * from stepwell.{function}($1)");
        sqlx::query_as(&call).bind(batch).fetch_one(&mut self.connection).await
    }

    /// Claims for a minute, as [`WORKER`].
    pub async fn claim(&mut self, batch: i32) -> Answer<Vec<ClaimedStep>> {
        self.claim_as(WORKER, batch, "60 s").await
    }

    pub async fn claim_as(&mut self, worker: &str, batch: i32, lease: &str) -> Answer<Vec<ClaimedStep>> {
        let rows = sqlx::query_as("select * from stepwell.claim_steps($1, $2, $3, $4::text::interval)")
            .bind(NAMESPACE)
            .bind(batch)
            .bind(worker)
            .bind(lease)
            .fetch_all(&mut self.connection)
            .await?;
        self.describe(rows).await
    }

    /// Claimed steps, with what they are.
    async fn describe(&mut self, rows: Vec<ClaimedRow>) -> Answer<Vec<ClaimedStep>> {
        let mut steps = Vec::new();
        for row in rows {
            let call = sqlx::query_as("select * from stepwell.describe_steps(array[$1])").bind(row.workflow_id);
            let definitions: Vec<StepDefinition> = call.fetch_all(&mut self.connection).await?;
            steps.push(row.described(&definitions).ok_or(sqlx::Error::RowNotFound)?);
        }
        Ok(steps)
    }

    /// Claims the one step that is to be had.
    pub async fn claim_one(&mut self) -> Result<ClaimedStep> {
        let mut steps = self.claim(2).await?;
        ensure!(steps.len() == 1, "there are {} steps", steps.len());
        Ok(steps.remove(0))
    }

    /// Reports as [`WORKER`]. Returns the places that were refused.
    pub async fn report(&mut self, results: &[impl AsRef<str>]) -> Answer<Vec<i32>> {
        self.report_as(WORKER, results).await
    }

    pub async fn report_as(&mut self, worker: &str, results: &[impl AsRef<str>]) -> Answer<Vec<i32>> {
        let results: Vec<&str> = results.iter().map(AsRef::as_ref).collect();
        sqlx::query_scalar("select stepwell.report_results($1, $2::text[]::jsonb[])")
            .bind(worker)
            .bind(&results)
            .fetch_one(&mut self.connection)
            .await
    }

    /// Reports one result, which must be accepted, and applies it.
    pub async fn settle(&mut self, result: String) -> Result<Applied> {
        let refused = self.report(&[result]).await?;
        ensure!(refused.is_empty(), "the result was refused");
        Ok(self.apply(10).await?)
    }

    /// Reports results that must be accepted, each in a message of its own, so that each can be applied by another.
    pub async fn report_each(&mut self, results: &[impl AsRef<str>]) -> Result<()> {
        for result in results {
            ensure!(self.report(&[result]).await?.is_empty(), "the result was refused");
        }
        Ok(())
    }

    /// Reports results and applies those that are accepted, in one call. Takes up to `take` of the steps that became ready.
    pub async fn settle_at_once(&mut self, results: &[impl AsRef<str>], take: i32) -> Answer<Settled> {
        let results: Vec<&str> = results.iter().map(AsRef::as_ref).collect();
        let call = "select s.* from (select results, 'complete' = all (array(select m ->> 'outcome' from unnest(results) m)) as plain
                                       from (select $2::text[]::jsonb[] as results) r) r,
                      stepwell.settle_results($1, array(select (m ->> 'claim')::bigint from unnest(r.results) m),
                        array(select (m ->> 'task_id')::uuid from unnest(r.results) m),
                        array(select (m ->> 'step')::smallint from unnest(r.results) m),
                        array(select (m ->> 'attempt')::smallint from unnest(r.results) m),
                        case when r.plain then array(select coalesce(m -> 'result', 'null') from unnest(r.results) m) end,
                        case when r.plain then array(select coalesce((m ->> 'duration_us')::bigint, 0) from unnest(r.results) m) end,
                        case when not r.plain then r.results end, 500, false, array[$3], $4, '60 s') s";
        let call = sqlx::query(call).bind(WORKER).bind(&results).bind(NAMESPACE).bind(take);
        let (mut settled, claimed) = Settled::read(&call.fetch_all(&mut self.connection).await?)?;
        settled.claimed = self.describe(claimed).await?;
        Ok(settled)
    }

    /// Gives steps back as `worker`.
    pub async fn release_as(&mut self, worker: &str, steps: &[ClaimedStep]) -> Answer<i32> {
        let (claims, tasks, positions) = columns(steps);
        sqlx::query_scalar("select stepwell.release_steps($1, $2, $3, $4)")
            .bind(worker)
            .bind(claims)
            .bind(tasks)
            .bind(positions)
            .fetch_one(&mut self.connection)
            .await
    }

    /// Gives back steps whose handler [`WORKER`] lacks. Returns the tasks that ended.
    pub async fn release_unhandled(&mut self, steps: &[ClaimedStep], give_up: &str) -> Answer<Vec<Uuid>> {
        let (claims, tasks, positions) = columns(steps);
        sqlx::query_scalar("select stepwell.release_unhandled($1, $2, $3, $4, 0, $5::text::interval)")
            .bind(WORKER)
            .bind(claims)
            .bind(tasks)
            .bind(positions)
            .bind(give_up)
            .fetch_one(&mut self.connection)
            .await
    }

    pub async fn heartbeat(&mut self, worker: &str, claims: &[i64], lease: &str) -> Answer<Vec<i64>> {
        sqlx::query_scalar("select stepwell.heartbeat($1, $2, $3::text::interval)")
            .bind(worker)
            .bind(claims)
            .bind(lease)
            .fetch_all(&mut self.connection)
            .await
    }

    pub async fn report_progress(
        &mut self,
        worker: &str,
        step: &ClaimedStep,
        progress: &str,
    ) -> Answer<Option<String>> {
        sqlx::query_scalar("select stepwell.report_progress($1, $2, $3, $4, $5, $6::text::jsonb)")
            .bind(worker)
            .bind(step.claim_id)
            .bind(step.task_id)
            .bind(step.position)
            .bind(step.attempt)
            .bind(progress)
            .fetch_one(&mut self.connection)
            .await
    }

    pub async fn cancel(&mut self, task: Uuid) -> Answer<String> {
        self.of_task("select stepwell.cancel_task($1, 'a test', 'a tester')::text", task).await
    }

    pub async fn retry(&mut self, task: Uuid) -> Answer<Vec<String>> {
        self.of_task("select stepwell.retry_task($1, 'a test', 'a tester')", task).await
    }

    /// Retries the steps of these names.
    pub async fn retry_steps(&mut self, task: Uuid, steps: &[&str]) -> Answer<Vec<String>> {
        sqlx::query_scalar("select stepwell.retry_task($1, 'a test', 'a tester', $2)")
            .bind(task)
            .bind(steps)
            .fetch_one(&mut self.connection)
            .await
    }

    /// Gives a step its result by hand. Returns the task's state.
    pub async fn resolve(&mut self, task: Uuid, step: &str, result: &str) -> Answer<String> {
        sqlx::query_scalar(
            "select state::text from stepwell.resolve_step($1, $2, $3::text::jsonb, 'a test', 'a tester')",
        )
        .bind(task)
        .bind(step)
        .bind(result)
        .fetch_one(&mut self.connection)
        .await
    }

    pub async fn fail_overdue(&mut self, batch: i32) -> Answer<Overdue> {
        sqlx::query_as("select * from stepwell.fail_overdue_tasks($1)")
            .bind(batch)
            .fetch_one(&mut self.connection)
            .await
    }

    /// Puts a message into a queue, past all functions of ours.
    pub async fn send(&mut self, queue: &str, message: &str) -> Answer<()> {
        sqlx::query("select pgmq.send($1, $2::text::jsonb)")
            .bind(queue)
            .bind(message)
            .execute(&mut self.connection)
            .await
            .map(drop)
    }

    /// How many messages stand in a queue; in step_results, how many results.
    pub async fn queued(&mut self, queue: &str) -> Answer<i64> {
        self.value(&format!(
            "select coalesce(sum(jsonb_array_length(coalesce(message -> 'results', '[1]'))), 0)::bigint from pgmq.q_{queue}"
        ))
        .await
    }

    /// How many rows a table of ours has.
    pub async fn count(&mut self, table: &str) -> Answer<i64> {
        self.value(&format!("select count(*) from stepwell.{table}")).await
    }

    /// The reasons of all dead letters, oldest first.
    pub async fn dead_reasons(&mut self) -> Answer<Vec<String>> {
        self.column("select reason from stepwell.dead_letters order by dead_letter_id").await
    }

    pub async fn task_state(&mut self, task: Uuid) -> Answer<String> {
        self.of_task("select state::text from stepwell.tasks where task_id = $1", task).await
    }

    /// All steps of a task with their states, such as `a complete, b enqueued 2`: the attempt stands behind it unless it
    /// is the first, or there was none.
    pub async fn steps(&mut self, task: Uuid) -> Answer<String> {
        self.of_task(
            "select coalesce(string_agg(name || ' ' || state || case when attempt > 1 then ' ' || attempt else '' end,
                                        ', ' order by position), '')
               from stepwell.steps where task_id = $1",
            task,
        )
        .await
    }

    /// Waits until `waiting` waits for a lock that `holder` has.
    pub async fn until_blocked(&mut self, waiting: i32, holder: i32) -> Result<()> {
        super::eventually("the other session waits", async || {
            let blocked = self.value::<bool>(&format!("select {holder} = any (pg_blocking_pids({waiting}))")).await?;
            Ok(blocked.then_some(()))
        })
        .await
    }

    /// Runs the history checker; every violation is an error.
    pub async fn assert_invariants(&mut self) -> Result<()> {
        let violations: Vec<String> = self
            .column("select concat_ws(' | ', invariant, task_id, step, details) from stepwell.check_invariants()")
            .await?;
        ensure!(violations.is_empty(), "invariants are violated:\n{}", violations.join("\n"));
        Ok(())
    }
}

fn columns(steps: &[ClaimedStep]) -> (Vec<i64>, Vec<Uuid>, Vec<i16>) {
    (
        steps.iter().map(|step| step.claim_id).collect(),
        steps.iter().map(|step| step.task_id).collect(),
        steps.iter().map(|step| step.position).collect(),
    )
}

/// The report of an attempt that succeeded with this result, JSON text.
pub fn complete(step: &ClaimedStep, result: &str) -> String {
    report(step, "complete", &format!(r#""result": {result}"#))
}

/// The report of an attempt that failed; `details` are further members, such as `"retry_after": 5`.
pub fn failed(step: &ClaimedStep, kind: &str, details: &str) -> String {
    let comma = if details.is_empty() { "" } else { ", " };
    report(step, kind, &format!(r#""error": {{"class": "Oops", "message": "it failed"}}{comma}{details}"#))
}

fn report(step: &ClaimedStep, outcome: &str, members: &str) -> String {
    format!(
        r#"{{"claim": {}, "task_id": "{}", "step": {}, "attempt": {}, "outcome": "{outcome}", {members}}}"#,
        step.claim_id, step.task_id, step.position, step.attempt
    )
}

/// The SQLSTATE with which PostgreSQL refused a statement.
pub fn sqlstate<T>(answer: Answer<T>) -> Option<String> {
    answer.err()?.as_database_error()?.code().map(|code| code.into_owned())
}
