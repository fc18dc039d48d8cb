//! Seconds of Ruby. What is no number of them has been refused there, by name.

use std::time::Duration;

/// Negative seconds are none, and endless ones are as long as it gets.
pub(crate) fn from_seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
