//! The retention loop: removes what finished long enough ago, in small transactions with pauses between, so that nobody
//! waits for it.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio_util::sync::CancellationToken;

use super::pause;
use super::summary::Totals;
use crate::database::Database;
use crate::error::Result;
use crate::telemetry::health::Pulse;

/// Pause between two transactions of one sweep.
const BREATH: Duration = Duration::from_millis(20);

pub(super) async fn run(database: Database, totals: Arc<Totals>, shutdown: CancellationToken) {
    let settings = database.config().retention.clone();
    let mut backoff = database.backoff("retention");
    let pulse = database.pulse("retention", settings.cycle);
    let mut batch = settings.batch;
    while !shutdown.is_cancelled() {
        // With jitter, so that of several orchestrators one finds most of the work.
        let until_next = settings.cycle.mul_f64(rand::rng().random_range(0.5..=1.0));
        pause(until_next, &shutdown).await;
        if shutdown.is_cancelled() {
            return;
        }
        match sweep(&database, &totals, &pulse, &shutdown, batch).await {
            Ok(()) => {
                backoff.succeeded();
                batch = batch.saturating_mul(2).min(settings.batch);
                pulse.succeeded();
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

/// Once through all that is old, `batch` rows at a time.
async fn sweep(
    database: &Database,
    totals: &Totals,
    pulse: &Pulse,
    shutdown: &CancellationToken,
    batch: u32,
) -> Result<()> {
    let (settings, store) = (&database.config().retention, database.store());
    let mut after = None;
    let mut tasks = 0;
    while !shutdown.is_cancelled() && (settings.finished.is_some() || settings.failed.is_some()) {
        let removed = store.remove_finished_tasks(after, batch, settings.finished, settings.failed).await?;
        totals.removed(removed.removed);
        pulse.succeeded();
        tasks += removed.removed;
        if removed.looked_at.unsigned_abs() < batch {
            break;
        }
        after = removed.last_id;
        pause(BREATH, shutdown).await;
    }
    let mut letters = 0;
    while let (Some(age), false) = (settings.dead_letters, shutdown.is_cancelled()) {
        let removed = store.remove_dead_letters(batch, age).await?;
        letters += removed;
        pulse.succeeded();
        if removed.unsigned_abs() < batch {
            break;
        }
        pause(BREATH, shutdown).await;
    }
    while let (Some(age), false) = (settings.failed, shutdown.is_cancelled()) {
        let removed = store.remove_events(batch, age).await?; // of no task: those of a task go with it
        pulse.succeeded();
        if removed.unsigned_abs() < batch {
            break;
        }
        pause(BREATH, shutdown).await;
    }
    if tasks > 0 || letters > 0 {
        tracing::info!(tasks, dead_letters = letters, "old tasks and dead letters were removed");
    }
    Ok(())
}
