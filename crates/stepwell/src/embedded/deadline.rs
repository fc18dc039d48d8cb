//! One point in time by which everything has to be done.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::EmbeddedError;

/// More than anybody waits for, and small enough to be added to any clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The end of the time allowed for a start or a stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        let timeout = timeout.min(LONGEST);
        Self { at: Instant::now() + timeout, timeout }
    }

    pub(super) fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    pub(super) fn is_over(&self) -> bool {
        self.remaining().is_zero()
    }

    pub(super) fn error(&self, waiting_for: impl Into<String>, source: Option<sqlx::Error>) -> EmbeddedError {
        EmbeddedError::Timeout { waiting_for: waiting_for.into(), timeout: self.timeout, source }
    }

    /// Waits for a future until the time is over.
    pub(super) async fn limit<F: Future>(
        &self,
        what: impl FnOnce() -> String,
        future: F,
    ) -> Result<F::Output, EmbeddedError> {
        tokio::time::timeout_at(self.at, future).await.map_err(|_| self.error(what(), None))
    }
}
