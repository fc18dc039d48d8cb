//! Waiting after trouble: doubling, capped, jittered, and one warning for the whole of it, however many loops and calls
//! of the process meet it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::Rng;

use crate::error::Error;
use crate::signals::lock;
use crate::telemetry::Warnings;

const FIRST: Duration = Duration::from_millis(50);
const CAP: Duration = Duration::from_secs(5);
/// A database that comes and goes is warned of this often.
const QUIET: Duration = Duration::from_secs(60);

/// What the loops of one link to a database know together of its being away.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    state: Mutex<State>,
    warnings: Warnings,
}

#[derive(Debug, Default)]
struct State {
    failures: u64,
    since: Option<Instant>,
    warned: Option<Instant>,
    /// A warning stands that nothing has been said after.
    told: bool,
}

impl Outage {
    /// What the loops have warned of lately.
    pub(crate) fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    fn failed(&self, name: &'static str, error: &Error) {
        let mut state = lock(&self.state);
        state.failures += 1;
        state.since.get_or_insert_with(Instant::now);
        if state.warned.is_none_or(|at| at.elapsed() >= QUIET) {
            state.warned = Some(Instant::now());
            state.told = true;
            self.warnings.note(name, error.to_string());
            tracing::warn!("loop" = name, %error, "trouble, trying again until it is over");
        } else {
            tracing::debug!("loop" = name, %error, "still trouble");
        }
    }

    fn succeeded(&self) {
        let mut state = lock(&self.state);
        if let Some(since) = state.since.take() {
            if std::mem::take(&mut state.told) {
                tracing::info!(after = ?since.elapsed(), failures = state.failures, "works again");
            }
            state.failures = 0;
        }
    }
}

/// How one loop waits while the database is away.
#[derive(Debug)]
pub(crate) struct Backoff {
    name: &'static str,
    outage: Arc<Outage>,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(name: &'static str, outage: Arc<Outage>) -> Self {
        Self { name, outage, failures: 0 }
    }

    /// Notes a failure and returns how long to wait before the next try. Of trouble with the database one loop warns for
    /// all; any other error is of this loop alone.
    pub(crate) fn failed(&mut self, error: &Error) -> Duration {
        if error.is_transient() {
            self.outage.failed(self.name, error);
        } else if self.failures == 0 {
            self.outage.warnings.note(self.name, error.to_string());
            tracing::warn!("loop" = self.name, %error, "fails, trying again");
        }
        self.failures = self.failures.saturating_add(1);
        delay(self.failures)
    }

    /// How many tries have failed since it worked.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes that it works.
    pub(crate) fn succeeded(&mut self) {
        if self.failures > 0 {
            self.outage.succeeded();
            self.failures = 0;
        }
    }
}

/// Half to all of 50 ms doubled for each failure, at most 5 s.
pub(crate) fn delay(failures: u32) -> Duration {
    let full = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(CAP);
    full.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::logged;

    fn away() -> Error {
        Error::Database { url: "postgres://here".into(), source: sqlx::Error::PoolTimedOut }
    }

    #[test]
    fn an_outage_is_one_warning_for_all_loops_and_comes_back_in_one_line() {
        let lines = logged(|| {
            let outage = Arc::new(Outage::default());
            let mut loops = ["one", "two", "three"].map(|name| Backoff::new(name, outage.clone()));
            for _round in 0..3 {
                for _try in 0..10 {
                    for it in &mut loops {
                        let _pause = it.failed(&away());
                    }
                }
                loops.iter_mut().for_each(Backoff::succeeded);
            }
        });
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].contains("WARN DATABASE trouble, trying again until it is over loop=one error="));
        assert!(lines[1].contains("INFO DATABASE works again") && lines[1].contains("failures=30"));
    }

    #[test]
    fn what_is_no_outage_is_told_by_each_loop_once() {
        let broken = Error::Stopped { what: "something" };
        let lines = logged(|| {
            let outage = Arc::new(Outage::default());
            let mut loops = ["one", "two"].map(|name| Backoff::new(name, outage.clone()));
            for _try in 0..10 {
                for it in &mut loops {
                    let _pause = it.failed(&broken);
                }
            }
        });
        assert_eq!(lines.len(), 2, "{lines:#?}");
    }

    #[test]
    fn delays_double_up_to_the_cap_and_are_jittered() {
        for (failures, most) in [(1, 50), (2, 100), (5, 800), (8, 5_000), (u32::MAX, 5_000)] {
            let delays: Vec<Duration> = (0..50).map(|_| delay(failures)).collect();
            let most = Duration::from_millis(most);
            assert!(delays.iter().all(|delay| (most / 2..=most).contains(delay)), "{failures}: {delays:?}");
            assert!(delays.iter().any(|delay| *delay != delays[0]));
        }
    }
}
