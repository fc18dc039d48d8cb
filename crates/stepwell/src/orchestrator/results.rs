//! The result loop: `step_results` -> finished, retried and failed steps, and the queues of the newly ready. A worker of
//! the same process brings its results past the queue.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use super::finished::Finished;
use super::hop_loop::{self, Hop};
use super::summary::Totals;
use crate::database::Database;
use crate::error::Result;
use crate::store::{Appetite, Applied, Settled, StepResults};
use crate::telemetry::metrics;

/// Results, and who hears what became of them.
#[derive(Debug)]
pub(crate) struct Results {
    database: Database,
    totals: Arc<Totals>,
    finished: Finished,
}

pub(super) async fn run(database: Database, totals: Arc<Totals>, finished: Finished, shutdown: CancellationToken) {
    let settings = database.config().orchestrator.clone();
    let wakeups = database.signals().results();
    let hop = Arc::new(Results { database: database.clone(), totals, finished });
    database.set_results(&hop);
    hop_loop::run(hop, database, settings.result_batch, settings.polling_interval, wakeups, shutdown).await;
}

impl Results {
    /// What a worker reports, reported and applied at once.
    pub(crate) async fn settle(
        &self,
        worker_id: &str,
        results: &StepResults<'_>,
        appetite: Option<Appetite<'_>>,
    ) -> Result<Settled> {
        let traces = self.database.traces();
        let (since, started) = (traces.map(|_| SystemTime::now()), Instant::now());
        let batch = self.database.config().orchestrator.result_batch;
        let settled = self.database.store().settle_results(worker_id, results, batch, traces.is_some(), appetite).await;
        let settled = settled.inspect_err(|_| self.database.metrics().hop_failed(metrics::Hop::Settle))?;
        self.database.metrics().hop(metrics::Hop::Settle, started.elapsed(), results.claim_ids.len() as u64);
        self.tell(&settled.applied, since);
        Ok(settled)
    }

    fn tell(&self, outcome: &Applied, since: Option<SystemTime>) {
        if let (Some(traces), Some(since)) = (self.database.traces(), since) {
            traces.applied(since, outcome.traces.as_deref());
        }
        self.totals.applied(outcome);
        self.database.signals().publish_steps(&outcome.namespaces);
        self.database.signals().publish_finished(&outcome.finished);
        self.finished.tell(&outcome.finished, outcome.errored.unsigned_abs() as usize);
    }
}

impl Hop for Arc<Results> {
    const NAME: &'static str = "results";
    const QUEUE: &'static str = "step_results";
    const HOP: metrics::Hop = metrics::Hop::Apply;

    async fn run(&self, batch: u32) -> Result<u32> {
        let traces = self.database.traces();
        let (since, started) = (traces.map(|_| SystemTime::now()), Instant::now());
        let outcome = self.database.store().apply_results(batch, traces.is_some()).await?;
        self.database.metrics().hop(Self::HOP, started.elapsed(), outcome.popped);
        self.tell(&outcome, since);
        Ok(outcome.popped.unsigned_abs())
    }

    async fn look(&self) -> Result<bool> {
        self.database.store().has_messages(Self::QUEUE).await
    }
}
