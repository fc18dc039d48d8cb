//! Waiting after trouble: doubling, capped, jittered, and one warning for the whole of it.

use std::time::Duration;

use rand::Rng;

use crate::error::Error;

const FIRST: Duration = Duration::from_millis(50);
const CAP: Duration = Duration::from_secs(5);

/// How one loop waits while the database is away.
#[derive(Debug)]
pub(crate) struct Backoff {
    name: &'static str,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, failures: 0 }
    }

    /// Notes a failure and returns how long to wait before the next try. The first is logged, the others are counted.
    pub(crate) fn failed(&mut self, error: &Error) -> Duration {
        if self.failures == 0 {
            tracing::warn!(component = self.name, %error, "trouble, trying again until it is over");
        }
        self.failures = self.failures.saturating_add(1);
        delay(self.failures)
    }

    /// Notes that it works.
    pub(crate) fn succeeded(&mut self) {
        if self.failures > 0 {
            tracing::info!(component = self.name, tries = self.failures, "works again");
            self.failures = 0;
        }
    }
}

/// Half to all of 50 ms doubled for each failure, at most 5 s.
pub(crate) fn delay(failures: u32) -> Duration {
    let full = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(CAP);
    full.mul_f64(rand::rng().random_range(0.5..=1.0))
}
