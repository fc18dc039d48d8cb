//! What a worker has of one database: its namespaces there, the results on their way there. Each lane has a fetcher, a
//! reporter and a heartbeat of its own, so that a database that is away holds up no other; the takers are shared.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use super::lost_answers::LostAnswers;
use super::outcome::Outcome;
use super::passes::Passes;
use super::reporter::Reports;
use super::Shared;
use crate::database::Database;
use crate::error::Result;
use crate::store::ClaimedStep;
use crate::telemetry::metrics::{age, Attempts};

#[derive(Debug)]
pub(super) struct Lane {
    /// Its place among the worker's lanes.
    pub(super) place: usize,
    pub(super) database: Database,
    pub(super) namespaces: Vec<String>,
    pub(super) reports: Reports,
    pub(super) passes: Passes,
    pub(super) answers: LostAnswers,
    /// Told when the fetcher has ended and what it had claimed is given back.
    pub(super) drained: Notify,
    /// What is counted of each namespace.
    attempts: HashMap<String, Arc<Attempts>>,
}

impl Lane {
    pub(super) fn new(place: usize, database: Database, namespaces: Vec<String>) -> Self {
        let counted = namespaces.iter().map(|namespace| (namespace.clone(), database.metrics().attempts(namespace)));
        let (attempts, reports, drained) = (counted.collect(), Reports::default(), Notify::new());
        Self {
            place,
            database,
            namespaces,
            reports,
            passes: Passes::default(),
            answers: LostAnswers::default(),
            drained,
            attempts,
        }
    }

    /// Counts that an attempt begins.
    pub(super) fn note_start(&self, step: &ClaimedStep) {
        if let Some(attempts) = self.attempts_of(step) {
            let here = step.claimed.map_or(Duration::ZERO, |claimed| claimed.elapsed());
            let waited = step.waited_ms.map(|ms| ms.max(0) as f64 / 1e3 + here.as_secs_f64());
            let first = step.attempt == 1 && step.results.is_none();
            attempts.started(waited, first.then(|| age(step.task_id, SystemTime::now())).flatten());
        }
    }

    /// Counts that an attempt has ended.
    pub(super) fn note_end(&self, step: &ClaimedStep, outcome: &Outcome, took: Duration) {
        if let Some(attempts) = self.attempts_of(step) {
            attempts.finished(outcome, took.as_secs_f64());
        }
    }

    fn attempts_of(&self, step: &ClaimedStep) -> Option<&Attempts> {
        let (namespace, _) = step.workflow.split_once('/')?;
        self.attempts.get(namespace).map(Arc::as_ref)
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
