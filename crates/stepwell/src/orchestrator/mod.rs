//! The orchestrator: requests become tasks, results are applied, ready steps are
//! dispatched, what is due is enqueued, what is old removed. Any number of them run on one
//! database without knowing of each other; every hop is one transaction that locks what it needs.

mod hop_loop;
mod requests;
mod results;
mod retention;
mod summary;
mod upkeep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::database::Database;
use crate::embedded::{self, Cluster};
use crate::error::Result;

pub use summary::Summary;
use summary::Totals;

/// A running orchestrator. [`stop`](Self::stop) it before dropping it.
#[derive(Debug)]
#[must_use = "an orchestrator runs until it is stopped"]
pub struct Orchestrator {
    database: Database,
    totals: Arc<Totals>,
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
    /// URL of the database without credentials.
    pub database: String,
    /// Seconds since it started.
    pub uptime: f64,
    /// Rolling totals since it started.
    pub summary: Summary,
}

impl Orchestrator {
    /// Migrates the database and starts the loops on it.
    ///
    /// # Errors
    /// As [`Store::migrate`](crate::store::Store::migrate).
    pub async fn start(database: Database) -> Result<Self> {
        database.store().migrate().await?;
        database.store().configure_dispatch(&database.config().dispatch).await?;
        let orchestrator = Self {
            database,
            totals: Arc::default(),
            started: Instant::now(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            cluster: Mutex::new(None),
        };
        let (database, totals, shutdown) = (&orchestrator.database, &orchestrator.totals, &orchestrator.shutdown);
        orchestrator.tasks.spawn(requests::run(database.clone(), totals.clone(), shutdown.clone()));
        orchestrator.tasks.spawn(results::run(database.clone(), totals.clone(), shutdown.clone()));
        orchestrator.tasks.spawn(upkeep::run(database.clone(), totals.clone(), shutdown.clone()));
        orchestrator.tasks.spawn(retention::run(database.clone(), totals.clone(), shutdown.clone()));
        orchestrator.tasks.close();
        tracing::info!(database = database.store().masked_url(), "orchestrator started");
        Ok(orchestrator)
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
        let database = Database::connect(url, config).await?;
        let started = Self::start(database.clone()).await;
        if started.is_err() {
            database.close().await;
        }
        started
    }

    /// The link to its database, to share with workers and clients of this process.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Whether its loops run.
    pub fn is_running(&self) -> bool {
        !self.shutdown.is_cancelled()
    }

    /// What it has done so far.
    pub fn status(&self) -> Status {
        Status {
            running: self.is_running(),
            database: self.database.store().masked_url().to_owned(),
            uptime: self.started.elapsed().as_secs_f64(),
            summary: self.totals.summary(),
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
        self.database.close().await;
        if let Some(cluster) = self.cluster.lock().await.take() {
            cluster.stop().await?;
        }
        Ok(())
    }
}

/// Waits, unless it is time to shut down.
async fn pause(duration: Duration, shutdown: &CancellationToken) {
    shutdown.run_until_cancelled(tokio::time::sleep(duration)).await;
}
