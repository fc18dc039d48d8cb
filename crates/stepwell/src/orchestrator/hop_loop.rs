//! The loop that both hops share: back to back while there is work, asleep when there is none, and a batch that fails
//! is bisected until the bad message is alone in the dead letters.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::pause;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::signals::Wakeups;
use crate::telemetry::health::Pulse;
use crate::telemetry::{metrics, target};

/// More than so many times in a row do not count.
const MOST_IN_VAIN: u32 = 12;

/// How often a message meets an internal error of PostgreSQL before that counts as its fault.
const INTERNAL_ERRORS: u32 = 10;

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
    let mut in_vain: u32 = 0;
    let mut internal_errors: u32 = 0;
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
                internal_errors = 0;
                batch = largest;
                in_vain = after(in_vain, count > 0);
                // Nothing is left: a hop that leaves something takes half of what it may. What has come since has said so.
                let work = wait_for_work(&hop, polling_interval, &mut wakeups, &pulse, &mut in_vain);
                shutdown.run_until_cancelled(work).await;
            }
            Ok(_) => {
                backoff.succeeded();
                internal_errors = 0;
                in_vain = 0;
                batch = batch.saturating_mul(2).min(largest);
            }
            Err(error) if error.is_transient() => {
                if error.asks_for_less() {
                    batch = (batch / 2).max(1);
                }
                pause(backoff.failed(&error), &shutdown).await;
            }
            // Not the messages' fault: they are tried again until that is over.
            Err(error) if !error.blames_message() && !error.is_internal() => {
                pause(backoff.failed(&error), &shutdown).await;
            }
            Err(error) if batch > 1 => {
                tracing::debug!(target: target::QUEUE, queue = H::QUEUE, batch, %error, "the batch fails, trying half of it");
                batch /= 2;
            }
            Err(error) => {
                if error.is_internal() {
                    internal_errors += 1;
                    if internal_errors < INTERNAL_ERRORS {
                        pause(backoff.failed(&error), &shutdown).await;
                        continue;
                    }
                }
                match database.store().bury_message(H::QUEUE, error.is_internal()).await {
                    Ok(buried) => {
                        if buried {
                            note_buried(&database, H::NAME, H::QUEUE, &error);
                        }
                        internal_errors = 0;
                        batch = 2.min(largest);
                    }
                    Err(error) => pause(backoff.failed(&error), &shutdown).await,
                }
            }
        }
    }
}

fn note_buried(database: &Database, name: &'static str, queue: &'static str, error: &Error) {
    let what = "a message that cannot be handled has gone to the dead letters";
    tracing::warn!(target: target::QUEUE, queue, %error, "{what}");
    database.note_warning(name, format!("{what}: {error}"));
}

/// Until something wakes the loop, or a look finds work. A look that fails is left to the hop, which handles it.
///
/// A message wakes all orchestrators, and one of them gets it. Where a loop was woken in vain several times, others are quick
/// enough: it lets them go first, and looks a little later whether they left anything. So many orchestrators take no more
/// of the database than one while one is enough, and share the work when it is not.
async fn wait_for_work<H: Hop>(
    hop: &H,
    polling_interval: Duration,
    wakeups: &mut Wakeups,
    pulse: &Pulse,
    in_vain: &mut u32,
) {
    loop {
        let woken = tokio::time::timeout(polling_interval, wakeups.changed()).await.is_ok();
        if woken {
            let late = lateness(*in_vain);
            if late.is_zero() {
                return;
            }
            tokio::time::sleep(late).await;
            wakeups.mark_unchanged();
        }
        if hop.look().await.unwrap_or(true) {
            return;
        }
        if woken {
            *in_vain = after(*in_vain, false);
        }
        pulse.succeeded(); // a turn that found nothing to do
    }
}

/// How often a loop counts as woken in vain after one more turn that had little to do, or nothing. One find among many turns in
/// vain, while the one that is quick enough was about to set out, does not make it the first to set out from then on.
fn after(in_vain: u32, found: bool) -> u32 {
    match found {
        true => in_vain.saturating_sub(1),
        false => (in_vain + 1).min(MOST_IN_VAIN),
    }
}

/// How much later a loop sets out that has been woken in vain so many times in a row.
fn lateness(in_vain: u32) -> Duration {
    Duration::from_millis(4 * u64::from(in_vain.saturating_sub(2)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use tokio::sync::watch;

    use super::*;
    use crate::telemetry::health::Loops;

    /// A hop that finds work when it has looked so often.
    struct Looks {
        needed: u32,
        done: AtomicU32,
    }

    impl Hop for Looks {
        const NAME: &'static str = "looks";
        const QUEUE: &'static str = "none";
        const HOP: metrics::Hop = metrics::Hop::Apply;

        async fn run(&self, _batch: u32) -> Result<u32> {
            Ok(0)
        }

        async fn look(&self) -> Result<bool> {
            Ok(self.done.fetch_add(1, Relaxed) + 1 >= self.needed)
        }
    }

    /// Wakes a loop that has been woken in vain so often. Returns how often it looks, and was woken in vain then.
    async fn wake(before: u32, needed: u32) -> (u32, u32) {
        let (waker, mut wakeups) = watch::channel(0);
        let hop = Looks { needed, done: AtomicU32::new(0) };
        let pulse = Loops::default().begin("looks", Duration::from_secs(60));
        let mut in_vain = before;
        let waking = async {
            loop {
                waker.send_modify(|count| *count += 1);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = wait_for_work(&hop, Duration::from_secs(60), &mut wakeups, &pulse, &mut in_vain) => {}
            () = waking => {}
        }
        (hop.done.load(Relaxed), in_vain)
    }

    #[tokio::test]
    async fn who_is_woken_in_vain_looks_whether_others_left_anything() {
        assert_eq!(wake(0, 9).await, (0, 0), "sets out at once");
        assert_eq!(wake(2, 9).await, (0, 2));
        assert_eq!(wake(3, 1).await, (1, 3), "there is work: no matter how often there was none");
        assert_eq!(wake(3, 4).await, (4, 6));
    }

    #[test]
    fn nobody_is_late_by_more_than_a_moment() {
        let mut in_vain = 0;
        let mut late = |found: [bool; 16]| {
            let last = found.map(|found| {
                in_vain = after(in_vain, found);
                lateness(in_vain).as_millis()
            });
            [last[0], last[1], last[2], last[9], last[15]]
        };
        assert_eq!(late([false; 16]), [0, 0, 4, 32, 40]);
        assert_eq!(late([true; 16]), [36, 32, 28, 0, 0], "others are gone");
    }
}
