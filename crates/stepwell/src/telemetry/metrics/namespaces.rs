//! What workers and clients count by namespace.

use std::sync::Arc;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::families;
use super::labels::Labels;
use crate::worker::{FailureKind, Outcome};

#[derive(Debug)]
pub(super) struct Namespaces {
    labels: Labels,
    submitted: IntCounterVec,
    started: IntCounterVec,
    finished: IntCounterVec,
    ready_to_start: HistogramVec,
    submit_to_start: HistogramVec,
    duration: HistogramVec,
}

/// What a worker counts of one namespace. Counting is a few atomic operations.
#[derive(Debug)]
pub(crate) struct Attempts {
    started: IntCounter,
    complete: IntCounter,
    retryable: IntCounter,
    permanent: IntCounter,
    timeout: IntCounter,
    ready_to_start: Histogram,
    submit_to_start: Histogram,
    duration: Histogram,
}

impl Namespaces {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            labels: Labels::default(),
            submitted: families::TASKS_SUBMITTED.counters(registry),
            started: families::ATTEMPTS_STARTED.counters(registry),
            finished: families::ATTEMPTS_FINISHED.counters(registry),
            ready_to_start: families::READY_TO_START.seconds(registry),
            submit_to_start: families::SUBMIT_TO_START.seconds(registry),
            duration: families::ATTEMPT_DURATION.seconds(registry),
        }
    }

    pub(super) fn submitted(&self, namespace: &str, tasks: u64) {
        self.submitted.with_label_values(&[self.labels.of(namespace)]).inc_by(tasks);
    }

    pub(super) fn attempts(&self, namespace: &str) -> Arc<Attempts> {
        let label = self.labels.of(namespace);
        let finished = |outcome| self.finished.with_label_values(&[label, outcome]);
        Arc::new(Attempts {
            started: self.started.with_label_values(&[label]),
            complete: finished("complete"),
            retryable: finished("retryable"),
            permanent: finished("permanent"),
            timeout: finished("timeout"),
            ready_to_start: self.ready_to_start.with_label_values(&[label]),
            submit_to_start: self.submit_to_start.with_label_values(&[label]),
            duration: self.duration.with_label_values(&[label]),
        })
    }
}

impl Attempts {
    /// An attempt begins, so many seconds after its step came into the queue and, where it is a task's first, after the
    /// submit.
    pub(crate) fn started(&self, waited: Option<f64>, since_submit: Option<f64>) {
        self.started.inc();
        if let Some(seconds) = waited {
            self.ready_to_start.observe(seconds);
        }
        if let Some(seconds) = since_submit {
            self.submit_to_start.observe(seconds);
        }
    }

    /// An attempt has ended.
    pub(crate) fn finished(&self, outcome: &Outcome, seconds: f64) {
        let counter = match outcome {
            Outcome::Complete(_) => &self.complete,
            Outcome::Failed(failure) => match failure.kind {
                FailureKind::Retryable => &self.retryable,
                FailureKind::Permanent => &self.permanent,
                FailureKind::Timeout => &self.timeout,
            },
        };
        counter.inc();
        self.duration.observe(seconds);
    }
}
