//! The orchestrator: requests become tasks, results are applied, ready steps are
//! dispatched, what is due is enqueued, what is old removed. Any number of them run on one
//! database without knowing of each other; every hop is one transaction that locks what it needs. One that serves several
//! databases runs its loops on each, and none waits for another.

mod finished;
mod hop_loop;
mod requests;
mod results;
mod retention;
mod shard;
mod summary;
mod upkeep;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::database::Database;
use crate::databases::Databases;
use crate::embedded::{self, Cluster};
use crate::error::Result;

pub(crate) use requests::Requests;
pub(crate) use results::Results;
use shard::Shard;
pub use summary::{Activity, Rates, Summary};

/// A running orchestrator. [`stop`](Self::stop) it before dropping it.
#[derive(Debug)]
#[must_use = "an orchestrator runs until it is stopped"]
pub struct Orchestrator {
    databases: Databases,
    /// The default database's first.
    shards: Vec<Shard>,
    started: Instant,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    cluster: Mutex<Option<Cluster>>,
}

/// What [`Orchestrator::status`] tells.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// Whether its loops run.
    pub running: bool,
    /// URL of the default database without credentials.
    pub database: String,
    /// Seconds since it started.
    pub uptime: f64,
    /// Rolling totals since it started, of all databases.
    pub summary: Summary,
    /// Each database, the default first.
    pub databases: Vec<DatabaseStatus>,
}

/// What [`Orchestrator::status`] tells of one database.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct DatabaseStatus {
    /// Its URL without credentials.
    pub database: String,
    /// The namespaces that the settings put on it; none on the default, which has all others.
    pub namespaces: Vec<String>,
    /// Whether the loops run on it: not yet on one that has been away since the orchestrator started.
    pub running: bool,
    /// Rolling totals of it.
    pub summary: Summary,
}

impl Orchestrator {
    /// Migrates the database, or each of several, and starts the loops on it.
    ///
    /// # Errors
    /// As [`Store::migrate`](crate::store::Store::migrate). Where there are several databases, one that is away does not
    /// count unless all are: its loops start when it is there.
    pub async fn start(databases: impl Into<Databases>) -> Result<Self> {
        let databases = databases.into();
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shards: Vec<Shard> = databases
            .all()?
            .into_iter()
            .enumerate()
            .map(|(place, database)| Shard::new(database, databases.namespaces(place), &shutdown, &tasks))
            .collect();
        start_all(&shards).await?;
        tasks.close();
        Ok(Self { databases, shards, started: Instant::now(), shutdown, tasks, cluster: Mutex::new(None) })
    }

    /// Starts an orchestrator on the configured database, or, when none is configured, on a private PostgreSQL that it
    /// starts, or finds running, in the working directory.
    ///
    /// # Errors
    /// As [`Cluster::start`], [`Database::connect`] and [`start`](Self::start).
    pub async fn embedded(config: &Config) -> Result<Self> {
        if let Some(url) = &config.database.url {
            return Self::start_at(url, config).await;
        }
        let cluster = Cluster::start(&embedded::Options::from(&config.embedded)).await?;
        match Self::start_at(cluster.url(), config).await {
            Ok(orchestrator) => {
                *orchestrator.cluster.lock().await = Some(cluster);
                Ok(orchestrator)
            }
            Err(error) => {
                let _the_first_error_counts = cluster.stop().await;
                Err(error)
            }
        }
    }

    /// Starts on a link of its own, which it takes down again when it cannot start.
    async fn start_at(url: &str, config: &Config) -> Result<Self> {
        let databases = Databases::connect(url, config).await?;
        let started = Self::start(databases.clone()).await;
        if started.is_err() {
            databases.close().await;
        }
        started
    }

    /// The link to its default database, to share with workers and clients of this process.
    pub fn database(&self) -> &Database {
        self.databases.default()
    }

    /// The links to all its databases, to share with workers and clients of this process.
    pub fn databases(&self) -> &Databases {
        &self.databases
    }

    /// Whether its loops run.
    pub fn is_running(&self) -> bool {
        !self.shutdown.is_cancelled()
    }

    /// Asks the databases for what [`status`](Self::status) tells of them: within a few seconds, also when one is away.
    pub async fn look(&self) {
        join_all(self.shards.iter().map(|shard| shard.database.metrics().queues().refresh(shard.database.store())))
            .await;
    }

    /// What it has done so far.
    pub fn status(&self) -> Status {
        Status {
            running: self.is_running(),
            database: self.database().store().masked_url().to_owned(),
            uptime: self.started.elapsed().as_secs_f64(),
            summary: self.shards.iter().map(|shard| shard.totals.summary()).sum(),
            databases: self.shards.iter().map(|shard| self.status_of(shard)).collect(),
        }
    }

    fn status_of(&self, shard: &Shard) -> DatabaseStatus {
        DatabaseStatus {
            database: shard.database.store().masked_url().to_owned(),
            namespaces: shard.namespaces.clone(),
            running: self.is_running() && shard.is_started(),
            summary: shard.totals.summary(),
        }
    }

    /// Finishes the transactions under way, ends the loops and the link to the database, and stops the private
    /// PostgreSQL when nobody else uses it. A second call does nothing.
    ///
    /// # Errors
    /// [`Error::Embedded`](crate::Error::Embedded) when the private PostgreSQL cannot be stopped.
    pub async fn stop(&self) -> Result<()> {
        self.shutdown.cancel();
        self.tasks.wait().await;
        self.databases.close().await;
        if let Some(cluster) = self.cluster.lock().await.take() {
            cluster.stop().await?;
        }
        Ok(())
    }
}

/// Starts the loops on all databases, or on none when one of them is wrong or none is there.
async fn start_all(shards: &[Shard]) -> Result<()> {
    if let [only] = shards {
        only.prepare().await?;
        only.start();
        return Ok(());
    }
    let mut away = Vec::new();
    for (shard, reached) in shards.iter().zip(join_all(shards.iter().map(Shard::reach)).await) {
        match reached {
            Err(error) if error.is_transient() => away.push((shard, error)),
            reached => reached?,
        }
    }
    if away.len() == shards.len() {
        return away.into_iter().next().map_or(Ok(()), |(_, error)| Err(error));
    }
    shards.iter().filter(|shard| away.iter().all(|(other, _)| !std::ptr::eq(*other, *shard))).for_each(Shard::start);
    away.into_iter().for_each(|(shard, error)| shard.start_later(error));
    Ok(())
}

/// Waits, unless it is time to shut down.
async fn pause(duration: Duration, shutdown: &CancellationToken) {
    shutdown.run_until_cancelled(tokio::time::sleep(duration)).await;
}
