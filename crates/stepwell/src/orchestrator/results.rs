//! The result loop: `step_results` -> finished, retried and failed steps, and the queues of the newly ready.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use super::finished::Finished;
use super::hop_loop::{self, Hop};
use super::summary::Totals;
use crate::database::Database;
use crate::error::Result;
use crate::telemetry::metrics;

struct Results {
    database: Database,
    totals: Arc<Totals>,
    finished: Finished,
}

pub(super) async fn run(database: Database, totals: Arc<Totals>, finished: Finished, shutdown: CancellationToken) {
    let settings = database.config().orchestrator.clone();
    let wakeups = database.signals().results();
    let hop = Results { database: database.clone(), totals, finished };
    hop_loop::run(hop, database, settings.result_batch, settings.polling_interval, wakeups, shutdown).await;
}

impl Hop for Results {
    const NAME: &'static str = "results";
    const QUEUE: &'static str = "step_results";
    const HOP: metrics::Hop = metrics::Hop::Apply;

    async fn run(&self, batch: u32) -> Result<u32> {
        let traces = self.database.traces();
        let (since, started) = (traces.map(|_| SystemTime::now()), Instant::now());
        let outcome = self.database.store().apply_results(batch, traces.is_some()).await?;
        self.database.metrics().hop(Self::HOP, started.elapsed(), outcome.popped);
        if let (Some(traces), Some(since)) = (traces, since) {
            traces.applied(since, outcome.traces.as_deref());
        }
        self.totals.applied(&outcome);
        self.database.signals().publish_steps(&outcome.namespaces);
        self.database.signals().publish_finished(&outcome.finished);
        self.finished.tell(&outcome.finished);
        Ok(outcome.popped.unsigned_abs())
    }

    async fn look(&self) -> Result<bool> {
        self.database.store().has_messages(Self::QUEUE).await
    }
}
