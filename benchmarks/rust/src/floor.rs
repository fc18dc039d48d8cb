//! What this PostgreSQL can do: the functions, called one after the other over one connection, on as many connections as
//! asked for, with batches of one size, the same rows and JSON as the product writes, as durable: the five of the queues, or,
//! as a worker beside its orchestrator, settle_results instead of report and apply. Nothing wakes, nothing is kept in memory;
//! it is the limit that everything around the functions is compared with.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use clap::Args;
use serde_json::{json, Value};
use sqlx::postgres::types::PgInterval;
use sqlx::{Connection, PgConnection, Row};
use stepwell::store::Settled;
use stepwell::{Client, Config, Database, Workflow};
use uuid::Uuid;

use crate::workflows::{Kind, NAMESPACE};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The database, migrated.
    #[arg(long)]
    url: String,
    #[arg(long, value_enum)]
    kind: Kind,
    #[arg(long)]
    tasks: usize,
    /// Most requests, steps or results in one call.
    #[arg(long)]
    batch: usize,
    /// How many connections do all of it at the same time.
    #[arg(long)]
    connections: usize,
    /// Results bring the next steps, as beside an orchestrator.
    #[arg(long, action = clap::ArgAction::Set)]
    settle: bool,
}

/// What is left to do.
#[derive(Debug)]
struct Left {
    to_submit: AtomicUsize,
    to_initialize: AtomicUsize,
    to_finish: AtomicUsize,
}

/// How often a function was called with something to do, and how long that took.
#[derive(Debug, Default, Clone, Copy)]
struct Calls {
    count: u32,
    time: Duration,
}

const HOPS: [&str; 6] = ["submit", "initialize", "claim", "report", "apply", "settle"];

type Hops = [Calls; HOPS.len()];

pub(crate) async fn run(options: Options) -> Result<()> {
    let workflow = options.kind.workflow()?;
    let database = Database::connect(&options.url, &Config::load(Some("production"))?).await?;
    Client::new(database.clone()).register(std::slice::from_ref(&workflow)).await?;
    database.close().await;
    drive(&options, &workflow, (options.batch * options.connections * 2).min(options.tasks)).await?;
    crate::ready().await?;
    let started = Instant::now();
    let calls = drive(&options, &workflow, options.tasks).await?;
    let seconds = started.elapsed().as_secs_f64();
    let each: serde_json::Map<String, Value> = HOPS
        .iter()
        .zip(calls)
        .map(|(hop, calls)| {
            let mean = calls.time.as_secs_f64() * 1e3 / f64::from(calls.count.max(1));
            ((*hop).to_owned(), json!({ "calls": calls.count, "mean_ms": mean }))
        })
        .collect();
    crate::done(&json!({ "seconds": seconds, "steps": options.tasks * options.kind.steps(), "hops": each })).await
}

async fn drive(options: &Options, workflow: &Workflow, tasks: usize) -> Result<Hops> {
    let left = Arc::new(Left { to_submit: tasks.into(), to_initialize: tasks.into(), to_finish: tasks.into() });
    let mut drivers = tokio::task::JoinSet::new();
    for number in 0..options.connections {
        let mut driver = Driver::connect(options, workflow, number, left.clone()).await?;
        drivers.spawn(async move {
            driver.run().await?;
            Ok::<_, anyhow::Error>(driver.calls)
        });
    }
    let mut total = Hops::default();
    while let Some(calls) = drivers.join_next().await {
        for (total, calls) in total.iter_mut().zip(calls??) {
            total.count += calls.count;
            total.time += calls.time;
        }
    }
    Ok(total)
}

/// A claimed step, which counts as complete.
struct Outcome {
    claim: i64,
    task_id: Uuid,
    step: i16,
    attempt: i16,
}

struct Driver {
    connection: PgConnection,
    left: Arc<Left>,
    batch: usize,
    settle: bool,
    worker_id: String,
    workflow: String,
    version: String,
    digest: String,
    calls: Hops,
}

impl Driver {
    async fn connect(options: &Options, workflow: &Workflow, number: usize, left: Arc<Left>) -> Result<Self> {
        Ok(Self {
            connection: PgConnection::connect(&options.url).await?,
            left,
            batch: options.batch,
            settle: options.settle,
            worker_id: format!("floor:{}:{number:06x}", std::process::id()),
            workflow: workflow.full_name(),
            version: workflow.version.clone(),
            digest: workflow.digest.clone(),
            calls: Default::default(),
        })
    }

    async fn run(&mut self) -> Result<()> {
        while self.submit().await? {}
        while self.left.to_finish.load(SeqCst) > 0 {
            let started = self.initialize().await?;
            let mut results = self.claim().await?;
            let claimed = !results.is_empty();
            while self.settle && !results.is_empty() {
                results = self.settle(&results).await?;
            }
            if !results.is_empty() {
                self.report(&results).await?;
            }
            let worked = (!self.settle && self.apply().await?) || claimed || started;
            if !worked {
                // The other connections have what is left, or two met at its place in the queue, and each left it to the other:
                // an orchestrator's upkeep looks after that.
                sqlx::query("select stepwell.dispatch_steps($1)")
                    .bind(i32::try_from(self.batch)?)
                    .execute(&mut self.connection)
                    .await?;
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
        Ok(())
    }

    async fn submit(&mut self) -> Result<bool> {
        let Some(count) = take(&self.left.to_submit, self.batch) else { return Ok(false) };
        let requests: Vec<String> = (0..count)
            .map(|_| {
                let id = Uuid::now_v7();
                json!({ "task_id": id, "workflow": self.workflow, "version": self.version, "validated": self.digest,
                        "context": {} })
                .to_string()
            })
            .collect();
        let call =
            sqlx::query("select task_id, created from stepwell.submit_tasks($1::text[]::jsonb[]) order by request");
        let started = Instant::now();
        let rows = call.bind(&requests).fetch_all(&mut self.connection).await?;
        self.count(0, started);
        ensure!(rows.len() == count, "{} of {count} tasks were submitted", rows.len());
        Ok(true)
    }

    async fn initialize(&mut self) -> Result<bool> {
        if self.left.to_initialize.load(SeqCst) == 0 {
            return Ok(false);
        }
        let started = Instant::now();
        let row = sqlx::query("select * from stepwell.initialize_tasks($1)")
            .bind(i32::try_from(self.batch)?)
            .fetch_one(&mut self.connection)
            .await?;
        let popped = usize::try_from(row.get::<i32, _>("popped"))?;
        if popped > 0 {
            self.count(1, started);
            self.left.to_initialize.fetch_sub(popped, SeqCst);
        }
        Ok(popped > 0)
    }

    /// Settles results, and has those of the next steps at once.
    async fn settle(&mut self, results: &[Outcome]) -> Result<Vec<Outcome>> {
        let lease = PgInterval { months: 0, days: 0, microseconds: 60_000_000 };
        let batch = i32::try_from(self.batch)?;
        let started = Instant::now();
        let call = "select * from stepwell.settle_results($1, $2, $3, $4, $5, $6::text[]::jsonb[], $7, null, $8, false, $9, $8, $10)";
        let rows = sqlx::query(call)
            .bind(&self.worker_id)
            .bind(results.iter().map(|result| result.claim).collect::<Vec<_>>())
            .bind(results.iter().map(|result| result.task_id).collect::<Vec<_>>())
            .bind(results.iter().map(|result| result.step).collect::<Vec<_>>())
            .bind(results.iter().map(|result| result.attempt).collect::<Vec<_>>())
            .bind(vec!["1"; results.len()])
            .bind(vec![1_i64; results.len()])
            .bind(batch)
            .bind([NAMESPACE].as_slice())
            .bind(lease)
            .fetch_all(&mut self.connection)
            .await?;
        self.count(5, started);
        let (settled, claimed) = Settled::read(&rows)?;
        ensure!(settled.refused.is_empty(), "{} results were refused", settled.refused.len());
        self.left.to_finish.fetch_sub(settled.applied.finished.len(), SeqCst);
        Ok(claimed
            .iter()
            .map(|it| Outcome { claim: it.claim_id, task_id: it.task_id, step: it.position, attempt: it.attempt })
            .collect())
    }

    /// A result as the queue carries it.
    fn message(&self, Outcome { claim, task_id, step, attempt }: &Outcome) -> String {
        json!({ "claim": claim, "task_id": task_id, "step": step, "attempt": attempt, "worker": self.worker_id,
                "duration_us": 1, "outcome": "complete", "result": 1 })
        .to_string()
    }

    /// Claims, and has the results at once.
    async fn claim(&mut self) -> Result<Vec<Outcome>> {
        let lease = PgInterval { months: 0, days: 0, microseconds: 60_000_000 };
        let started = Instant::now();
        let rows = sqlx::query("select * from stepwell.claim_steps($1, $2, $3, $4)")
            .bind(NAMESPACE)
            .bind(i32::try_from(self.batch)?)
            .bind(&self.worker_id)
            .bind(lease)
            .fetch_all(&mut self.connection)
            .await?;
        if !rows.is_empty() {
            self.count(2, started);
        }
        Ok(rows
            .iter()
            .map(|row| Outcome {
                claim: row.get("claim_id"),
                task_id: row.get("task_id"),
                step: row.get("step"),
                attempt: row.get("attempt"),
            })
            .collect())
    }

    async fn report(&mut self, results: &[Outcome]) -> Result<()> {
        let json: Vec<String> = results.iter().map(|result| self.message(result)).collect();
        let started = Instant::now();
        let refused: Vec<i32> = sqlx::query_scalar("select stepwell.report_results($1, $2::text[]::jsonb[])")
            .bind(&self.worker_id)
            .bind(json)
            .fetch_one(&mut self.connection)
            .await?;
        self.count(3, started);
        ensure!(refused.is_empty(), "{} results were refused", refused.len());
        Ok(())
    }

    async fn apply(&mut self) -> Result<bool> {
        let started = Instant::now();
        let row = sqlx::query("select * from stepwell.apply_results($1)")
            .bind(i32::try_from(self.batch)?)
            .fetch_one(&mut self.connection)
            .await?;
        let popped: i32 = row.get("popped");
        if popped > 0 {
            self.count(4, started);
            self.left.to_finish.fetch_sub(row.get::<Vec<Uuid>, _>("finished").len(), SeqCst);
        }
        Ok(popped > 0)
    }

    fn count(&mut self, hop: usize, started: Instant) {
        self.calls[hop].count += 1;
        self.calls[hop].time += started.elapsed();
    }
}

/// Takes up to `batch` from what is left.
fn take(left: &AtomicUsize, batch: usize) -> Option<usize> {
    let before =
        left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(left.min(batch)).filter(|_| left > 0)).ok()?;
    Some(before.min(batch))
}
