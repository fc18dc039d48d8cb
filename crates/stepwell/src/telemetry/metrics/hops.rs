//! The transactions between the queues: how long, how large, how often in vain.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, Registry};

use super::families;

/// A transaction that moves a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hop {
    Submit,
    Begin,
    Initialize,
    Claim,
    Report,
    Apply,
    Settle,
    Wake,
    Recover,
    Overdue,
    Dispatch,
}

impl Hop {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Submit, "submit"),
        (Self::Begin, "begin"),
        (Self::Initialize, "initialize"),
        (Self::Claim, "claim"),
        (Self::Report, "report"),
        (Self::Apply, "apply"),
        (Self::Settle, "settle"),
        (Self::Wake, "wake"),
        (Self::Recover, "recover"),
        (Self::Overdue, "overdue"),
        (Self::Dispatch, "dispatch"),
    ];
}

#[derive(Debug)]
pub(super) struct Hops {
    duration: HistogramVec,
    batch: HistogramVec,
    /// Those that this process does: of the others not even zeros are shown.
    done: [OnceLock<(Histogram, Histogram)>; 11],
    failures: [IntCounter; 11],
}

impl Hops {
    pub(super) fn new(registry: &Registry) -> Self {
        let failures = families::HOP_FAILURES.counters(registry);
        Self {
            duration: families::HOP_DURATION.seconds(registry),
            batch: families::HOP_BATCH.sizes(registry),
            done: Default::default(),
            failures: Hop::ALL.map(|(_, label)| failures.with_label_values(&[label])),
        }
    }

    /// One that found nothing to do does not count: there are as many of those as a loop likes to look.
    pub(super) fn done(&self, hop: Hop, took: Duration, size: u64) {
        if size > 0 {
            let (duration, batch) = self.done[hop as usize].get_or_init(|| {
                let (_, label) = Hop::ALL[hop as usize];
                (self.duration.with_label_values(&[label]), self.batch.with_label_values(&[label]))
            });
            duration.observe(took.as_secs_f64());
            batch.observe(size as f64);
        }
    }

    pub(super) fn failed(&self, hop: Hop) {
        self.failures[hop as usize].inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_in_the_order_of_the_hops() {
        assert!(Hop::ALL.iter().enumerate().all(|(place, (hop, _))| *hop as usize == place));
    }
}
