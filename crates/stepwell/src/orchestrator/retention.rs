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
    while !shutdown.is_cancelled() {
        // With jitter, so that of several orchestrators one finds most of the work.
        let until_next = settings.cycle.mul_f64(rand::rng().random_range(0.5..=1.0));
        pause(until_next, &shutdown).await;
        if shutdown.is_cancelled() {
            return;
        }
        match sweep(&database, &totals, &pulse, &shutdown).await {
            Ok(()) => {
                backoff.succeeded();
                pulse.succeeded();
            }
            Err(error) => {
                pulse.turned();
                pause(backoff.failed(&error), &shutdown).await;
            }
        }
    }
}

/// Once through all that is old.
async fn sweep(database: &Database, totals: &Totals, pulse: &Pulse, shutdown: &CancellationToken) -> Result<()> {
    let (settings, store) = (&database.config().retention, database.store());
    let mut after = None;
    let mut tasks = 0;
    while !shutdown.is_cancelled() && (settings.finished.is_some() || settings.failed.is_some()) {
        let removed = store.remove_finished_tasks(after, settings.batch, settings.finished, settings.failed).await?;
        totals.removed(removed.removed);
        pulse.succeeded();
        tasks += removed.removed;
        if removed.looked_at.unsigned_abs() < settings.batch {
            break;
        }
        after = removed.last_id;
        pause(BREATH, shutdown).await;
    }
    let mut letters = 0;
    while let (Some(age), false) = (settings.dead_letters, shutdown.is_cancelled()) {
        let removed = store.remove_dead_letters(settings.batch, age).await?;
        letters += removed;
        pulse.succeeded();
        if removed.unsigned_abs() < settings.batch {
            break;
        }
        pause(BREATH, shutdown).await;
    }
    while let (Some(age), false) = (settings.failed, shutdown.is_cancelled()) {
        let removed = store.remove_events(settings.batch, age).await?; // of no task: those of a task go with it
        pulse.succeeded();
        if removed.unsigned_abs() < settings.batch {
            break;
        }
        pause(BREATH, shutdown).await;
    }
    if tasks > 0 || letters > 0 {
        tracing::info!(tasks, dead_letters = letters, "old tasks and dead letters were removed");
    }
    Ok(())
}
