//! The loops of one orchestrator on one database. Where there are several databases, one that is away when the
//! orchestrator starts gets its loops when it is there.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::summary::Totals;
use super::{finished, pause, requests, results, retention, summary, upkeep};
use crate::database::Database;
use crate::error::Result;

#[derive(Debug, Clone)]
pub(super) struct Shard {
    pub(super) database: Database,
    /// The namespaces that the settings put on it; none on the default database.
    pub(super) namespaces: Vec<String>,
    pub(super) totals: Arc<Totals>,
    started: Arc<AtomicBool>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Shard {
    pub(super) fn new(
        database: &Database,
        namespaces: &[String],
        shutdown: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        Self {
            database: database.clone(),
            namespaces: namespaces.to_vec(),
            totals: Arc::new(Totals::new(database.clone())),
            started: Arc::default(),
            shutdown: shutdown.clone(),
            tasks: tasks.clone(),
        }
    }

    pub(super) fn is_started(&self) -> bool {
        self.started.load(Relaxed)
    }

    /// Migrates the database.
    pub(super) async fn prepare(&self) -> Result<()> {
        let store = self.database.store();
        store.migrate().await?;
        store.configure_dispatch(&self.database.config().dispatch).await
    }

    /// The same, of one of several databases: whether it is there is told at once.
    pub(super) async fn reach(&self) -> Result<()> {
        self.database.store().reach().await?;
        self.prepare().await
    }

    /// Starts the loops.
    pub(super) fn start(&self) {
        let Self { database, totals, shutdown, .. } = self;
        let (told, finished) = finished::channel();
        self.tasks.spawn(requests::run(database.clone(), totals.clone(), told.clone(), shutdown.clone()));
        self.tasks.spawn(results::run(database.clone(), totals.clone(), told.clone(), shutdown.clone()));
        self.tasks.spawn(upkeep::run(database.clone(), totals.clone(), told, shutdown.clone()));
        self.tasks.spawn(finished::run(database.clone(), finished));
        self.tasks.spawn(retention::run(database.clone(), totals.clone(), shutdown.clone()));
        self.tasks.spawn(summary::run(database.clone(), totals.clone(), shutdown.clone()));
        self.started.store(true, Relaxed);
        tracing::info!(database = database.store().masked_url(), "orchestrator started");
    }

    /// Starts the loops as soon as the database is there.
    pub(super) fn start_later(&self, mut error: crate::Error) {
        let shard = self.clone();
        self.tasks.spawn(async move {
            let mut backoff = shard.database.backoff("start");
            while !shard.shutdown.is_cancelled() {
                pause(backoff.failed(&error), &shard.shutdown).await;
                match shard.shutdown.run_until_cancelled(shard.reach()).await {
                    Some(Ok(())) => {
                        backoff.succeeded();
                        return shard.start();
                    }
                    Some(Err(again)) => error = again,
                    None => {}
                }
            }
        });
    }
}
