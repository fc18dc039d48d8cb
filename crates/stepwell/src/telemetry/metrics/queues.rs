//! What only the database knows: asked for when somebody looks, at most every few seconds, by processes with an
//! orchestrator. Twenty workers that all count the queues would tell nothing more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex as SyncMutex};
use std::time::{Duration, Instant};

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Registry};
use tokio::sync::Mutex;

use super::families;
use super::labels::Labels;
use crate::error::Result;
use crate::signals::lock;
use crate::store::{DatabaseMetrics, QueueMetrics, Store};

/// How long an answer is shown again.
const FRESH: Duration = Duration::from_secs(3);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Messages are counted up to here.
const MOST_COUNTED: i32 = 100_000;

#[derive(Debug)]
pub(crate) struct Queues {
    wanted: AtomicBool,
    asked: Mutex<Option<Instant>>,
    latest: SyncMutex<Arc<Vec<QueueMetrics>>>,
    labels: Labels,
    up: IntGaugeVec,
    depth: IntGaugeVec,
    age: GaugeVec,
    sent: IntCounterVec,
    dead_rows: IntGaugeVec,
    waiting: IntGaugeVec,
    in_progress: IntGaugeVec,
    dead_letters: IntGaugeVec,
    snapshot_age: GaugeVec,
}

/// Queues under one label.
#[derive(Debug, Default)]
struct Sum {
    depth: i64,
    age: f64,
    sent: i64,
    dead_rows: i64,
    waiting: i64,
    in_progress: i64,
}

impl Queues {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            wanted: AtomicBool::new(false),
            asked: Mutex::default(),
            latest: SyncMutex::default(),
            labels: Labels::default(),
            up: families::DATABASE_UP.whole_gauges(registry),
            depth: families::QUEUE_DEPTH.whole_gauges(registry),
            age: families::QUEUE_AGE.gauges(registry),
            sent: families::QUEUE_SENT.counters(registry),
            dead_rows: families::QUEUE_DEAD_ROWS.whole_gauges(registry),
            waiting: families::STEPS_WAITING.whole_gauges(registry),
            in_progress: families::STEPS_IN_PROGRESS.whole_gauges(registry),
            dead_letters: families::DEAD_LETTERS_STORED.whole_gauges(registry),
            snapshot_age: families::SNAPSHOT_AGE.gauges(registry),
        }
    }

    /// An orchestrator runs over this link.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Relaxed);
    }

    /// What was found the last time: a row a queue; nothing when the database did not answer.
    pub(crate) fn latest(&self) -> Arc<Vec<QueueMetrics>> {
        lock(&self.latest).clone()
    }

    /// Asks the database, unless that was just done or nobody wants it. Ends soon, whatever the database does.
    pub(crate) async fn refresh(&self, store: &Store) {
        if !self.wanted.load(Relaxed) {
            return;
        }
        let mut asked = self.asked.lock().await; // who comes meanwhile gets the same answer
        if asked.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        let answer = tokio::time::timeout(PATIENCE, ask(store)).await;
        *asked = Some(Instant::now());
        match answer {
            Ok(Ok((queues, database))) => self.show(queues, database),
            Ok(Err(error)) => self.show_nothing(&error.to_string()),
            Err(_late) => self.show_nothing("no answer in time"),
        }
    }

    fn show(&self, queues: Vec<QueueMetrics>, database: DatabaseMetrics) {
        self.clear();
        let none: [&str; 0] = [];
        self.up.with_label_values(&none).set(1);
        self.dead_letters.with_label_values(&none).set(database.dead_letters);
        self.snapshot_age.with_label_values(&none).set(database.oldest_snapshot_age);
        for ((queue, namespace), sum) in self.sums(&queues) {
            let labels = [queue, namespace];
            self.depth.with_label_values(&labels).set(sum.depth);
            self.age.with_label_values(&labels).set(sum.age);
            self.sent.with_label_values(&labels).inc_by(sum.sent.unsigned_abs());
            self.dead_rows.with_label_values(&labels).set(sum.dead_rows);
            if queue == "steps" {
                self.waiting.with_label_values(&[namespace]).set(sum.waiting);
                self.in_progress.with_label_values(&[namespace]).set(sum.in_progress);
            }
        }
        *lock(&self.latest) = Arc::new(queues);
    }

    fn sums<'a>(&self, queues: &'a [QueueMetrics]) -> BTreeMap<(&'static str, &'a str), Sum> {
        let mut sums: BTreeMap<_, Sum> = BTreeMap::new();
        for queue in queues {
            let labels = match (&queue.namespace, queue.queue.as_str()) {
                (Some(namespace), _) => ("steps", self.labels.of(namespace)),
                (None, "task_requests") => ("requests", ""),
                (None, "step_results") => ("results", ""),
                (None, _) => continue, // of somebody else
            };
            let sum = sums.entry(labels).or_default();
            sum.depth += queue.messages;
            sum.age = sum.age.max(queue.oldest_age.unwrap_or_default());
            sum.sent += queue.sent;
            sum.dead_rows += queue.dead_rows;
            sum.waiting += queue.waiting;
            sum.in_progress += queue.in_progress;
        }
        sums
    }

    fn show_nothing(&self, why: &str) {
        tracing::debug!(why, "the database was not asked for metrics");
        self.clear();
        self.up.with_label_values::<&str>(&[]).set(0);
    }

    /// A queue that is no more, or that nobody knows of, has no value.
    fn clear(&self) {
        for gauges in [&self.up, &self.depth, &self.dead_rows, &self.waiting, &self.in_progress, &self.dead_letters] {
            gauges.reset();
        }
        self.age.reset();
        self.snapshot_age.reset();
        self.sent.reset();
    }
}

async fn ask(store: &Store) -> Result<(Vec<QueueMetrics>, DatabaseMetrics)> {
    Ok((store.queue_metrics(MOST_COUNTED).await?, store.database_metrics(MOST_COUNTED).await?))
}
