//! Every metric by name: what `docs/operations/metrics.md` describes. Base units, bounded labels.

use prometheus::core::Collector;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size, in buckets.
    Histogram,
}

/// A metric.
#[derive(Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels, beside `database`.
    pub labels: &'static [&'static str],
    /// One line of meaning.
    pub help: &'static str,
    /// Whether of several links to one database the largest value counts, as what all of them were told; else the sum.
    pub largest: bool,
}

/// Seconds: from a quarter of a millisecond to a day, each bucket two to five times the one before.
const SECONDS: [f64; 22] = [
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    900.0, 3600.0, 14_400.0, 86_400.0,
];
const SIZES: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 10_000.0];

macro_rules! families {
    ($($id:ident $kind:ident $name:literal [$($label:literal),*] $help:literal $($largest:ident)?;)*) => {
        $(pub(super) const $id: Family = Family {
            name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help,
            largest: families!(@ $($largest)?),
        };)*
        /// All metrics.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
    (@) => { false };
    (@ largest) => { true };
}

families! {
    BUILD_INFO Gauge "stepwell_build_info" ["version"] "1, with the version of the program." largest;
    TASKS_SUBMITTED Counter "stepwell_tasks_submitted_total" ["namespace"]
        "Tasks that clients of this process have created.";
    TASKS_STARTED Counter "stepwell_tasks_started_total" [] "Requests that this orchestrator has turned into tasks.";
    TASKS_FINISHED Counter "stepwell_tasks_finished_total" ["outcome"]
        "Tasks that this process has brought to an end: complete, error, cancelled, resolved.";
    STEPS_FINISHED Counter "stepwell_steps_finished_total" ["outcome"]
        "Steps that this orchestrator has brought to an end: complete, error.";
    RETRIES Counter "stepwell_retries_total" ["reason"]
        "Attempts that are followed by another: failure, timeout, lost_lease.";
    LOST_LEASES Counter "stepwell_lost_leases_total" []
        "Steps whose worker stopped sending heartbeats, as this orchestrator found.";
    RESULTS_REFUSED Counter "stepwell_results_refused_total" ["reason"]
        "Results that do not count: lost_lease (the worker's claim had expired), stale (the step was on another attempt).";
    DEAD_LETTERS Counter "stepwell_dead_letters_total" [] "Messages that this orchestrator could not use.";
    ATTEMPTS_STARTED Counter "stepwell_attempts_started_total" ["namespace"]
        "Attempts that workers of this process have begun.";
    ATTEMPTS_FINISHED Counter "stepwell_attempts_finished_total" ["namespace", "outcome"]
        "Attempts that workers of this process have ended: complete, retryable, permanent, timeout.";
    READY_TO_START Histogram "stepwell_ready_to_start_seconds" ["namespace"]
        "From when a step came into its namespace's queue until its attempt began.";
    SUBMIT_TO_START Histogram "stepwell_submit_to_start_seconds" ["namespace"]
        "From a task's submit until the first attempt of a step without dependencies began.";
    SUBMIT_TO_FINISH Histogram "stepwell_submit_to_finish_seconds" []
        "From a task's submit until this orchestrator found it finished.";
    ATTEMPT_DURATION Histogram "stepwell_attempt_duration_seconds" ["namespace"] "How long attempts took.";
    HOP_DURATION Histogram "stepwell_hop_duration_seconds" ["hop"]
        "Time of a hop's transaction that had something to do, as the process saw it.";
    HOP_BATCH Histogram "stepwell_hop_batch_size" ["hop"] "Messages, steps or timers of such a transaction.";
    HOP_FAILURES Counter "stepwell_hop_failures_total" ["hop"] "Hops that failed, and were tried again.";
    WORKER_SLOTS Gauge "stepwell_worker_slots" [] "Steps that the workers of this process can execute at the same time.";
    WORKER_SLOTS_BUSY Gauge "stepwell_worker_slots_busy" [] "Steps that they execute now.";
    WORKER_STEPS_AT_HAND Gauge "stepwell_worker_steps_at_hand" [] "Steps that they have claimed and not begun.";
    CONNECTIONS Gauge "stepwell_database_connections" ["state"] "Connections of the pool: in_use, idle.";
    CONNECTIONS_MAX Gauge "stepwell_database_connections_max" [] "Most connections of the pool.";
    LOOP_AGE Gauge "stepwell_loop_success_age_seconds" ["loop"] "Since the last turn of a loop that succeeded." largest;
    LOOP_LATE Gauge "stepwell_loop_late" ["loop"] "Whether that is too long ago, as /health/ready sees it: 0 or 1." largest;
    DATABASE_UP Gauge "stepwell_database_up" []
        "Whether the database answered when it was last asked for what follows: 0 or 1." largest;
    QUEUE_DEPTH Gauge "stepwell_queue_depth" ["queue", "namespace"]
        "Messages in a queue: requests, results, steps of a namespace; at most 100000 are counted." largest;
    QUEUE_AGE Gauge "stepwell_queue_oldest_age_seconds" ["queue", "namespace"]
        "Age of the oldest message in a queue; 0 when there is none." largest;
    QUEUE_SENT Counter "stepwell_queue_messages_total" ["queue", "namespace"]
        "Messages that ever came into a queue." largest;
    QUEUE_DEAD_ROWS Gauge "stepwell_queue_dead_rows" ["queue", "namespace"]
        "Rows of a queue's table that vacuum has still to remove." largest;
    STEPS_WAITING Gauge "stepwell_steps_waiting" ["namespace"]
        "Steps that wait for a place in their namespace's queue; at most 100000 of a kind are counted." largest;
    STEPS_IN_PROGRESS Gauge "stepwell_steps_in_progress" ["namespace"] "Steps that workers hold." largest;
    DEAD_LETTERS_STORED Gauge "stepwell_dead_letters_stored" []
        "Messages among the dead letters; at most 100000 are counted." largest;
    SNAPSHOT_AGE Gauge "stepwell_oldest_snapshot_age_seconds" []
        "How long the oldest transaction keeps vacuum from removing dead rows." largest;
}

/// The metric of this name.
pub(super) fn find(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

impl Family {
    pub(super) fn counters(&self, registry: &Registry) -> IntCounterVec {
        register(registry, IntCounterVec::new(Opts::new(self.name, self.help), self.labels))
    }

    pub(super) fn gauges(&self, registry: &Registry) -> GaugeVec {
        register(registry, GaugeVec::new(Opts::new(self.name, self.help), self.labels))
    }

    pub(super) fn whole_gauges(&self, registry: &Registry) -> IntGaugeVec {
        register(registry, IntGaugeVec::new(Opts::new(self.name, self.help), self.labels))
    }

    pub(super) fn seconds(&self, registry: &Registry) -> HistogramVec {
        self.histograms(registry, &SECONDS)
    }

    pub(super) fn sizes(&self, registry: &Registry) -> HistogramVec {
        self.histograms(registry, &SIZES)
    }

    fn histograms(&self, registry: &Registry, buckets: &[f64]) -> HistogramVec {
        let options = HistogramOpts::new(self.name, self.help).buckets(buckets.to_vec());
        register(registry, HistogramVec::new(options, self.labels))
    }
}

/// Names, labels and buckets are those of this file: what could be wrong with them is wrong always.
fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.unwrap_or_else(|error| unreachable!("a metric of ours: {error}"));
    registry.register(Box::new(metric.clone())).unwrap_or_else(|error| unreachable!("a metric of ours: {error}"));
    metric
}
