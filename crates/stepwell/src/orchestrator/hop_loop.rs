//! The loop that both hops share: back to back while there is work, asleep when there is none, and a batch that fails
//! is bisected until the bad message is alone in the dead letters.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::pause;
use crate::database::Database;
use crate::error::Result;
use crate::signals::Wakeups;
use crate::telemetry::health::Pulse;
use crate::telemetry::{metrics, target};

/// One hop: one transaction over a batch.
pub(super) trait Hop: Send + Sync {
    /// For messages.
    const NAME: &'static str;
    /// The queue it takes messages from.
    const QUEUE: &'static str;
    /// For metrics.
    const HOP: metrics::Hop;

    /// Handles up to `batch` messages. Returns how many there were.
    fn run(&self, batch: u32) -> impl std::future::Future<Output = Result<u32>> + Send;

    /// Whether there is anything to do: a cheap look, for when nothing has woken the loop.
    fn look(&self) -> impl std::future::Future<Output = Result<bool>> + Send;
}

pub(super) async fn run<H: Hop>(
    hop: H,
    database: Database,
    largest: u32,
    polling_interval: Duration,
    mut wakeups: Wakeups,
    shutdown: CancellationToken,
) {
    let mut backoff = database.backoff(H::NAME);
    let pulse = database.pulse(H::NAME, polling_interval);
    let mut batch = largest;
    while !shutdown.is_cancelled() {
        wakeups.mark_unchanged(); // what is said from here on is heard below
        let outcome = hop.run(batch).await;
        match &outcome {
            Ok(_) => pulse.succeeded(),
            Err(_) => {
                pulse.turned();
                database.metrics().hop_failed(H::HOP);
            }
        }
        match outcome {
            Ok(count) if count < batch / 2 || count == 0 => {
                backoff.succeeded();
                batch = largest;
                // Nothing is left: a hop that leaves something takes half of what it may. What has come since has said so.
                shutdown.run_until_cancelled(wait_for_work(&hop, polling_interval, &mut wakeups, &pulse)).await;
            }
            Ok(_) => {
                backoff.succeeded();
                batch = batch.saturating_mul(2).min(largest);
            }
            Err(error) if error.is_transient() => pause(backoff.failed(&error), &shutdown).await,
            Err(error) if batch > 1 => {
                tracing::debug!(target: target::QUEUE, queue = H::QUEUE, batch, %error, "the batch fails, trying half of it");
                batch /= 2;
            }
            Err(error) => {
                tracing::warn!(
                    target: target::QUEUE,
                    queue = H::QUEUE,
                    %error,
                    "a message that cannot be handled goes to the dead letters"
                );
                database.note_warning(H::NAME, format!("a message goes to the dead letters: {error}"));
                match database.store().bury_message(H::QUEUE).await {
                    Ok(_) => batch = 2.min(largest),
                    Err(error) => pause(backoff.failed(&error), &shutdown).await,
                }
            }
        }
    }
}

/// Until something wakes the loop, or a look finds work. A look that fails is left to the hop, which handles it.
async fn wait_for_work<H: Hop>(hop: &H, polling_interval: Duration, wakeups: &mut Wakeups, pulse: &Pulse) {
    while tokio::time::timeout(polling_interval, wakeups.changed()).await.is_err() {
        if hop.look().await.unwrap_or(true) {
            return;
        }
        pulse.succeeded(); // a turn that found nothing to do
    }
}
