//! Points in time by which something has to be done, as far away as anybody asks.

use std::time::Duration;

/// More than anybody waits for, and small enough to be added to any clock.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The time, at most what can be added to any clock: callers may ask for [`Duration::MAX`].
pub(crate) fn bounded(time: Duration) -> Duration {
    time.min(LONGEST)
}

/// When the time is over that starts now.
pub(crate) fn after(time: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + bounded(time)
}
