//! What one process counts of one database, for Prometheus. Each link to a database has its own: nothing is global, and
//! [`text`] puts those of a process together.
//!
//! The hot path adds to atomics, once a batch where there is a batch. What only the database knows is asked for when
//! somebody looks, and at most every few seconds.

mod families;
mod hops;
mod http;
mod labels;
mod namespaces;
mod queues;
mod text;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Histogram, IntCounter, IntGaugeVec, Registry};
use uuid::Uuid;

use crate::signals::lock;
use crate::telemetry::health::LoopHealth;

pub use families::{Family, Kind, FAMILIES};
pub(crate) use hops::Hop;
pub use http::{serve, Endpoint};
pub(crate) use namespaces::Attempts;
pub(crate) use queues::Queues;
pub use text::text;

/// What a worker has to do now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SlotUse {
    pub(crate) slots: usize,
    pub(crate) busy: usize,
    pub(crate) at_hand: usize,
}

/// Whoever has slots.
pub(crate) trait HasSlots: Send + Sync + std::fmt::Debug {
    fn slot_use(&self) -> SlotUse;
}

/// How a task ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TaskEnd {
    Complete,
    Error,
    Cancelled,
    Resolved,
}

/// Why there is another attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Retry {
    Failure,
    Timeout,
    LostLease,
}

/// The metrics of one link to a database.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    namespaces: namespaces::Namespaces,
    hops: hops::Hops,
    tasks_started: IntCounter,
    tasks_finished: [IntCounter; 4],
    steps_finished: [IntCounter; 2],
    retries: [IntCounter; 3],
    lost_leases: IntCounter,
    refused_lost: IntCounter,
    refused_stale: IntCounter,
    dead_letters: IntCounter,
    submit_to_finish: Histogram,
    workers: Mutex<Vec<Weak<dyn HasSlots>>>,
    slots: [IntGaugeVec; 3],
    connections: IntGaugeVec,
    connections_max: IntGaugeVec,
    loop_age: GaugeVec,
    loop_late: IntGaugeVec,
    queues: Queues,
}

impl Metrics {
    /// `database`: the value of that label.
    pub(crate) fn new(database: &str) -> Self {
        let labels = HashMap::from([("database".to_owned(), database.to_owned())]);
        let registry = Registry::new_custom(None, Some(labels)).unwrap_or_default();
        families::BUILD_INFO.whole_gauges(&registry).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let one = |family: families::Family| family.counters(&registry).with_label_values::<&str>(&[]);
        let finished = families::TASKS_FINISHED.counters(&registry);
        let steps = families::STEPS_FINISHED.counters(&registry);
        let retries = families::RETRIES.counters(&registry);
        let refused = families::RESULTS_REFUSED.counters(&registry);
        Self {
            namespaces: namespaces::Namespaces::new(&registry),
            hops: hops::Hops::new(&registry),
            tasks_started: one(families::TASKS_STARTED),
            tasks_finished: ["complete", "error", "cancelled", "resolved"].map(|it| finished.with_label_values(&[it])),
            steps_finished: ["complete", "error"].map(|it| steps.with_label_values(&[it])),
            retries: ["failure", "timeout", "lost_lease"].map(|it| retries.with_label_values(&[it])),
            lost_leases: one(families::LOST_LEASES),
            refused_lost: refused.with_label_values(&["lost_lease"]),
            refused_stale: refused.with_label_values(&["stale"]),
            dead_letters: one(families::DEAD_LETTERS),
            submit_to_finish: families::SUBMIT_TO_FINISH.seconds(&registry).with_label_values::<&str>(&[]),
            workers: Mutex::default(),
            slots: [families::WORKER_SLOTS, families::WORKER_SLOTS_BUSY, families::WORKER_STEPS_AT_HAND]
                .map(|family| family.whole_gauges(&registry)),
            connections: families::CONNECTIONS.whole_gauges(&registry),
            connections_max: families::CONNECTIONS_MAX.whole_gauges(&registry),
            loop_age: families::LOOP_AGE.gauges(&registry),
            loop_late: families::LOOP_LATE.whole_gauges(&registry),
            queues: Queues::new(&registry),
            registry,
        }
    }

    /// What a worker counts of a namespace, to keep.
    pub(crate) fn attempts(&self, namespace: &str) -> Arc<Attempts> {
        self.namespaces.attempts(namespace)
    }

    /// Tasks of these workflows, `namespace/name`, were created.
    pub(crate) fn submitted<'a>(&self, workflows: impl Iterator<Item = &'a str>) {
        let mut counts: Vec<(&str, u64)> = Vec::new();
        for workflow in workflows {
            let namespace = workflow.split_once('/').map_or(workflow, |(namespace, _)| namespace);
            match counts.iter_mut().find(|(name, _)| *name == namespace) {
                Some((_, count)) => *count += 1,
                None => counts.push((namespace, 1)),
            }
        }
        counts.into_iter().for_each(|(namespace, count)| self.namespaces.submitted(namespace, count));
    }

    /// A hop has moved so many.
    pub(crate) fn hop(&self, hop: Hop, took: Duration, size: impl TryInto<u64>) {
        self.hops.done(hop, took, size.try_into().unwrap_or_default());
    }

    pub(crate) fn hop_failed(&self, hop: Hop) {
        self.hops.failed(hop);
    }

    pub(crate) fn tasks_started(&self, count: u64) {
        self.tasks_started.inc_by(count);
    }

    pub(crate) fn tasks_finished(&self, end: TaskEnd, count: u64) {
        self.tasks_finished[end as usize].inc_by(count);
    }

    /// These tasks are found finished now.
    pub(crate) fn finished_now(&self, task_ids: &[Uuid]) {
        if !task_ids.is_empty() {
            let now = SystemTime::now();
            for seconds in task_ids.iter().filter_map(|task_id| age(*task_id, now)) {
                self.submit_to_finish.observe(seconds);
            }
        }
    }

    pub(crate) fn steps_finished(&self, complete: u64, failed: u64) {
        self.steps_finished[0].inc_by(complete);
        self.steps_finished[1].inc_by(failed);
    }

    pub(crate) fn retries(&self, reason: Retry, count: u64) {
        self.retries[reason as usize].inc_by(count);
    }

    pub(crate) fn lost_leases(&self, count: u64) {
        self.lost_leases.inc_by(count);
    }

    pub(crate) fn result_refused(&self) {
        self.refused_lost.inc();
    }

    pub(crate) fn stale_results(&self, count: u64) {
        self.refused_stale.inc_by(count);
    }

    pub(crate) fn dead_letters(&self, count: u64) {
        self.dead_letters.inc_by(count);
    }

    /// A worker whose slots are shown as long as it lives.
    pub(crate) fn watch(&self, worker: Weak<dyn HasSlots>) {
        let mut workers = lock(&self.workers);
        workers.retain(|worker| worker.strong_count() > 0);
        workers.push(worker);
    }

    /// What is asked of the database.
    pub(crate) fn queues(&self) -> &Queues {
        &self.queues
    }

    /// All of it now; `connections` of the pool are in use, idle, and at most.
    pub(crate) fn gather(&self, connections: (usize, usize, u32), loops: &[LoopHealth]) -> Vec<MetricFamily> {
        let (in_use, idle, most) = connections;
        for (state, count) in [("in_use", in_use), ("idle", idle)] {
            self.connections.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.connections_max.with_label_values::<&str>(&[]).set(most.into());
        self.loop_age.reset();
        self.loop_late.reset();
        for it in loops {
            self.loop_age.with_label_values(&[it.name]).set(it.since_success);
            self.loop_late.with_label_values(&[it.name]).set(i64::from(it.late || it.hung));
        }
        self.show_slots();
        self.registry.gather()
    }

    fn show_slots(&self) {
        let workers: Vec<_> = lock(&self.workers).iter().filter_map(Weak::upgrade).collect();
        if !workers.is_empty() {
            let uses: Vec<_> = workers.iter().map(|worker| worker.slot_use()).collect();
            let sums = [
                uses.iter().map(|it| it.slots).sum::<usize>(),
                uses.iter().map(|it| it.busy).sum(),
                uses.iter().map(|it| it.at_hand).sum(),
            ];
            for (gauge, sum) in self.slots.iter().zip(sums) {
                gauge.with_label_values::<&str>(&[]).set(i64::try_from(sum).unwrap_or(i64::MAX));
            }
        } else {
            self.slots.iter().for_each(IntGaugeVec::reset);
        }
    }
}

/// Seconds since a task was submitted, which its id says; none for one that a client made otherwise.
pub(crate) fn age(task_id: Uuid, now: SystemTime) -> Option<f64> {
    let (seconds, nanoseconds) = task_id.get_timestamp()?.to_unix();
    let submitted = UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))?;
    // The clock of another machine may be ahead of ours.
    Some(now.duration_since(submitted).unwrap_or_default().as_secs_f64())
}
