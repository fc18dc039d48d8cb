//! The upkeep loop: what comes due by time. Expired claims are recovered, due retries enqueued, overdue tasks ended, and
//! queues filled with what waits for its turn, where no other hop has done it.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::finished::Finished;
use super::pause;
use super::summary::Totals;
use crate::database::Database;
use crate::error::Result;
use crate::telemetry::metrics::Hop;

pub(super) async fn run(database: Database, totals: Arc<Totals>, finished: Finished, shutdown: CancellationToken) {
    let settings = database.config().orchestrator.clone();
    let mut backoff = database.backoff("upkeep");
    let pulse = database.pulse("upkeep", settings.cycle);
    let mut batch = settings.upkeep_batch;
    while !shutdown.is_cancelled() {
        match cycle(&database, &totals, &finished, batch).await {
            Ok(more) => {
                backoff.succeeded();
                batch = batch.saturating_mul(2).min(settings.upkeep_batch);
                pulse.succeeded();
                if !more {
                    pause(settings.cycle, &shutdown).await;
                }
            }
            Err(error) => {
                pulse.turned();
                if error.asks_for_less() {
                    batch = (batch / 2).max(1);
                }
                pause(backoff.failed(&error), &shutdown).await;
            }
        }
    }
}

/// One round. Returns whether there is more than fitted into the batches.
async fn cycle(database: &Database, totals: &Totals, finished: &Finished, batch: u32) -> Result<bool> {
    let upkeep = database.store().has_upkeep().await?;
    let mut popped = Vec::new();
    if upkeep.overdue {
        popped.push(fail_overdue(database, totals, finished, batch).await?);
    }
    if upkeep.expired {
        popped.push(recover(database, totals, finished, batch).await?);
    }
    if upkeep.due {
        let since = Instant::now();
        let woken = database.store().wake_due_steps(batch).await?;
        database.metrics().hop(Hop::Wake, since.elapsed(), woken.popped);
        database.signals().publish_steps(&woken.namespaces);
        popped.push(woken.popped);
    }
    if upkeep.ready || !popped.is_empty() {
        let since = Instant::now();
        let outcome = database.store().dispatch_steps(batch).await?;
        database.metrics().hop(Hop::Dispatch, since.elapsed(), outcome.dispatched);
        database.signals().publish_steps(&outcome.namespaces);
        popped.push(outcome.dispatched);
    }
    totals.cycle();
    Ok(popped.iter().any(|popped| popped.unsigned_abs() == batch))
}

async fn recover(database: &Database, totals: &Totals, finished: &Finished, batch: u32) -> Result<i32> {
    let since = Instant::now();
    let recovered = database.store().recover_claims(batch).await?;
    database.metrics().hop(Hop::Recover, since.elapsed(), recovered.popped);
    totals.recovered(&recovered);
    if recovered.popped > 0 {
        tracing::warn!(
            claims = recovered.popped,
            steps = recovered.recovered,
            failed = recovered.failed,
            "a worker stopped sending heartbeats, its steps were recovered"
        );
        let (steps, failed) = (recovered.recovered, recovered.failed);
        let message = format!("a worker stopped sending heartbeats: {steps} steps were recovered, {failed} failed");
        database.note_warning("upkeep", message);
    }
    database.signals().publish_steps(&recovered.namespaces);
    database.signals().publish_finished(&recovered.finished);
    finished.tell(&recovered.finished, recovered.finished.len());
    Ok(recovered.popped)
}

async fn fail_overdue(database: &Database, totals: &Totals, finished: &Finished, batch: u32) -> Result<i32> {
    let since = Instant::now();
    let overdue = database.store().fail_overdue_tasks(batch).await?;
    database.metrics().hop(Hop::Overdue, since.elapsed(), overdue.popped);
    totals.overdue(&overdue);
    if !overdue.finished.is_empty() {
        tracing::warn!(
            tasks = overdue.finished.len(),
            steps = overdue.failed,
            "tasks were not finished by their deadline"
        );
        let tasks = overdue.finished.len();
        database.note_warning("upkeep", format!("{tasks} tasks were not finished by their deadline"));
    }
    database.signals().publish_finished(&overdue.finished);
    finished.tell(&overdue.finished, overdue.finished.len());
    Ok(overdue.popped)
}
