//! The product itself, with handlers that do nothing: the roles of one process, and what it measures as their client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use clap::{Args, ValueEnum};
use serde_json::json;
use stepwell::store::ClaimedStep;
use stepwell::worker::Handlers;
use stepwell::{Client, Config, Database, Orchestrator, Worker};
use uuid::Uuid;

use crate::latency::{self, Starts};
use crate::workflows::{result, Kind, HANDLER, NAMESPACE};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The database, migrated.
    #[arg(long)]
    url: String,
    #[arg(long, value_enum, default_value = "chain")]
    kind: Kind,
    #[arg(long, value_enum)]
    mode: Mode,
    /// What runs in this process.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "orchestrator,worker")]
    roles: Vec<Role>,
    #[arg(long, default_value_t = 10)]
    concurrency: u32,
    /// Tasks, or samples of latency.
    #[arg(long, default_value_t = 0)]
    tasks: usize,
    /// Bytes of each context and each result.
    #[arg(long, default_value_t = 0)]
    payload: usize,
    /// Of the tasks that are submitted.
    #[arg(long)]
    priority: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Submits while everything runs; from the first submit to the last finish.
    Through,
    /// Submits first, then starts what works; from that start to the last finish.
    Drain,
    /// One task at a time, on an idle system.
    Latency,
    /// Runs its roles until standard input ends.
    Serve,
    /// Submits so many tasks, waits for them, and again, until it is told to stop.
    Waves,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Orchestrator,
    Worker,
    /// Neither: others work.
    Client,
}

/// What works in this process.
struct Running {
    orchestrator: Option<Orchestrator>,
    worker: Option<Arc<Worker>>,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let starts = Starts::default();
    let (mut database, mut client) = connect(&options).await?;
    let mut running = start(&options, &database, &starts).await?;
    if options.mode == Mode::Serve {
        crate::ready().await?;
        return stop(running, database).await;
    }
    if options.mode == Mode::Waves {
        waves(&client, &options).await?;
        return stop(running, database).await;
    }
    finish(&client, &submit(&client, &options, (options.tasks / 10).clamp(5, 1000)).await?).await?;
    starts.clear();
    if options.mode == Mode::Drain {
        stop(running, database).await?;
        (database, client) = connect(&options).await?;
        let tasks = submit(&client, &options, options.tasks).await?;
        crate::ready().await?;
        let started = Instant::now();
        running = start(&options, &database, &starts).await?;
        finish(&client, &tasks).await?;
        report(&options, started.elapsed(), None).await?;
    } else {
        crate::ready().await?;
        if options.mode == Mode::Latency {
            crate::done(&latency::measure(&client, options.kind, options.tasks, &starts).await?).await?;
        } else {
            let started = Instant::now();
            let tasks = submit(&client, &options, options.tasks).await?;
            let submitted = started.elapsed();
            finish(&client, &tasks).await?;
            report(&options, started.elapsed(), Some(submitted)).await?;
        }
    }
    stop(running, database).await
}

async fn waves(client: &Client, options: &Options) -> Result<()> {
    crate::ready().await?;
    let (mut steps, stopped) = (0, tokio::spawn(crate::line()));
    while !stopped.is_finished() {
        finish(client, &submit(client, options, options.tasks).await?).await?;
        steps += options.tasks * options.kind.steps();
    }
    crate::done(&json!({ "steps": steps })).await
}

async fn connect(options: &Options) -> Result<(Database, Client)> {
    let database = Database::connect(&options.url, &Config::load(Some("production"))?).await?;
    let client = Client::new(database.clone());
    client.register(&[options.kind.workflow()?]).await?;
    Ok((database, client))
}

async fn start(options: &Options, database: &Database, starts: &Starts) -> Result<Running> {
    let orchestrator = match options.roles.contains(&Role::Orchestrator) {
        true => Some(Orchestrator::start(database.clone()).await?),
        false => None,
    };
    let worker = match options.roles.contains(&Role::Worker) {
        true => {
            let namespaces = vec![NAMESPACE.to_owned()];
            let handlers = handlers(options, starts);
            Some(Worker::start_with(database.clone(), namespaces, options.concurrency, handlers).await?)
        }
        false => None,
    };
    Ok(Running { orchestrator, worker })
}

fn handlers(options: &Options, starts: &Starts) -> Handlers {
    let result = result(options.payload);
    if options.mode == Mode::Latency {
        let starts = starts.clone();
        return Handlers::new().with(HANDLER, move |_: Arc<ClaimedStep>| {
            starts.note();
            let result = result.clone();
            async move { Ok(result) }
        });
    }
    Handlers::new().with(HANDLER, move |_: Arc<ClaimedStep>| {
        let result = result.clone();
        async move { Ok(result) }
    })
}

async fn submit(client: &Client, options: &Options, tasks: usize) -> Result<Vec<Uuid>> {
    let requests = vec![options.kind.request(options.payload, options.priority.as_deref()); tasks];
    Ok(client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect())
}

async fn finish(client: &Client, tasks: &[Uuid]) -> Result<()> {
    client.wait(tasks, Some(PATIENCE), |_| {}).await?;
    let last = client.task(*tasks.last().context("no task")?).await?;
    ensure!(last.state == "complete", "a task is {}", last.state);
    Ok(())
}

async fn report(options: &Options, took: Duration, submitted: Option<Duration>) -> Result<()> {
    let steps = options.tasks * options.kind.steps();
    let submit_seconds = submitted.map(|took| took.as_secs_f64());
    crate::done(&json!({ "seconds": took.as_secs_f64(), "submit_seconds": submit_seconds, "steps": steps })).await
}

async fn stop(running: Running, database: Database) -> Result<()> {
    if let Some(worker) = running.worker {
        worker.stop(Duration::from_secs(10)).await;
    }
    if let Some(orchestrator) = running.orchestrator {
        orchestrator.stop().await?;
    }
    database.close().await;
    Ok(())
}
