//! What a worker has of one database: its namespaces there, the results on their way there. Each lane has a fetcher, a
//! reporter and a heartbeat of its own, so that a database that is away holds up no other; the takers are shared.

use tokio::sync::Notify;

use super::reporter::Reports;
use super::Shared;
use crate::database::Database;
use crate::error::Result;

#[derive(Debug)]
pub(super) struct Lane {
    /// Its place among the worker's lanes.
    pub(super) place: usize,
    pub(super) database: Database,
    pub(super) namespaces: Vec<String>,
    pub(super) reports: Reports,
    /// Told when the fetcher has ended and what it had claimed is given back.
    pub(super) drained: Notify,
}

impl Lane {
    pub(super) fn new(place: usize, database: Database, namespaces: Vec<String>) -> Self {
        Self { place, database, namespaces, reports: Reports::default(), drained: Notify::new() }
    }

    /// Makes sure that the database is of this version, and has the queues.
    pub(super) async fn prepare(&self) -> Result<()> {
        self.database.store().check_schema().await?;
        for namespace in &self.namespaces {
            self.database.store().create_queue(namespace).await?; // a worker may be there before its first workflow
        }
        Ok(())
    }

    /// The same, of one of several databases: whether it is there is told at once.
    pub(super) async fn reach(&self) -> Result<()> {
        self.database.store().reach().await?;
        self.prepare().await
    }

    /// Waits until the database is there, or the worker is told to be quiet.
    pub(super) async fn arrive(&self, shared: &Shared, mut error: crate::Error) {
        let arrival = async {
            loop {
                self.database.arrival("worker", error).await;
                match self.prepare().await {
                    Ok(()) => return,
                    Err(again) => error = again,
                }
            }
        };
        shared.quiet.run_until_cancelled(arrival).await;
    }
}
