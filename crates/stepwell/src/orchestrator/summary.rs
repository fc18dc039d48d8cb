//! Rolling totals of one orchestrator on one database, in constant memory.

mod log;
mod namespaces;
mod rates;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use serde::Serialize;
use uuid::Uuid;

use crate::database::Database;
use crate::store::{Applied, Initialized, Overdue, Recovered};
use crate::telemetry::metrics::{Retry, TaskEnd};
use crate::telemetry::Warning;

pub(super) use log::run;
pub use namespaces::Activity;
use namespaces::Namespaces;
pub use rates::Rates;
use rates::{Sample, Window};

/// Warnings that are told.
const WARNINGS: usize = 50;

#[derive(Debug)]
pub(super) struct Totals {
    database: Database,
    counters: Counters,
    window: Window,
    namespaces: Namespaces,
}

#[derive(Debug, Default)]
struct Counters {
    cycles: AtomicU64,
    tasks_started: AtomicU64,
    tasks_rejected: AtomicU64,
    tasks_finished: AtomicU64,
    tasks_overdue: AtomicU64,
    tasks_removed: AtomicU64,
    steps_completed: AtomicU64,
    steps_retried: AtomicU64,
    steps_failed: AtomicU64,
    steps_recovered: AtomicU64,
    stale_results: AtomicU64,
    dead_letters: AtomicU64,
}

/// What an orchestrator has done since it started. Counts, unless it is said otherwise.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Rounds of upkeep.
    pub cycles: u64,
    /// Tasks it started.
    pub tasks_started: u64,
    /// Tasks whose request was bad.
    pub tasks_rejected: u64,
    /// Tasks it brought to a terminal state.
    pub tasks_finished: u64,
    /// Tasks that were not finished by their deadline; they are among the finished ones.
    pub tasks_overdue: u64,
    /// Tasks that were removed because of their age.
    pub tasks_removed: u64,
    /// Steps that completed.
    pub steps_completed: u64,
    /// Attempts that failed and are followed by another.
    pub steps_retried: u64,
    /// Steps that ended in error.
    pub steps_failed: u64,
    /// Steps whose worker was lost.
    pub steps_recovered: u64,
    /// Results that the fence refused.
    pub stale_results: u64,
    /// Messages nobody could use.
    pub dead_letters: u64,
    /// Per second, lately.
    pub rates: Rates,
    /// The ten namespaces whose queues got the most steps, by all orchestrators of their database, the first the most; as
    /// of the last look into the database.
    pub namespaces: Vec<Activity>,
    /// The last 50 warnings, the oldest first.
    pub warnings: Vec<Warning>,
}

impl Summary {
    /// What is counted of work: turns that found none are no work.
    fn done(&self) -> [u64; 11] {
        [
            self.tasks_started,
            self.tasks_rejected,
            self.tasks_finished,
            self.tasks_overdue,
            self.tasks_removed,
            self.steps_completed,
            self.steps_retried,
            self.steps_failed,
            self.steps_recovered,
            self.stale_results,
            self.dead_letters,
        ]
    }
}

/// The last warnings of several databases.
fn last(mut one: Vec<Warning>, other: Vec<Warning>) -> Vec<Warning> {
    one.extend(other);
    one.sort_by(|one, other| one.at.total_cmp(&other.at));
    one.split_off(one.len().saturating_sub(WARNINGS))
}

impl std::iter::Sum for Summary {
    fn sum<I: Iterator<Item = Self>>(summaries: I) -> Self {
        summaries.fold(Self::default(), |one, other| Self {
            cycles: one.cycles + other.cycles,
            tasks_started: one.tasks_started + other.tasks_started,
            tasks_rejected: one.tasks_rejected + other.tasks_rejected,
            tasks_finished: one.tasks_finished + other.tasks_finished,
            tasks_overdue: one.tasks_overdue + other.tasks_overdue,
            tasks_removed: one.tasks_removed + other.tasks_removed,
            steps_completed: one.steps_completed + other.steps_completed,
            steps_retried: one.steps_retried + other.steps_retried,
            steps_failed: one.steps_failed + other.steps_failed,
            steps_recovered: one.steps_recovered + other.steps_recovered,
            stale_results: one.stale_results + other.stale_results,
            dead_letters: one.dead_letters + other.dead_letters,
            rates: one.rates + other.rates,
            namespaces: namespaces::first([one.namespaces, other.namespaces].concat()),
            warnings: last(one.warnings, other.warnings),
        })
    }
}

fn add(counter: &AtomicU64, count: i32) {
    counter.fetch_add(whole(count), Relaxed);
}

fn whole(count: i32) -> u64 {
    u64::from(count.unsigned_abs())
}

impl Totals {
    pub(super) fn new(database: Database) -> Self {
        database.metrics().queues().want();
        Self { database, counters: Counters::default(), window: Window::default(), namespaces: Namespaces::default() }
    }

    pub(super) fn initialized(&self, outcome: &Initialized) {
        add(&self.counters.tasks_started, outcome.initialized);
        add(&self.counters.tasks_rejected, outcome.rejected);
        add(&self.counters.dead_letters, outcome.dead);
        self.database.metrics().tasks_started(whole(outcome.initialized));
        self.database.metrics().dead_letters(whole(outcome.dead));
        self.finished(&outcome.finished, outcome.finished.len());
    }

    pub(super) fn rejected(&self, tasks: &[Uuid]) {
        self.counters.tasks_rejected.fetch_add(tasks.len() as u64, Relaxed);
        self.finished(tasks, tasks.len());
    }

    pub(super) fn applied(&self, outcome: &Applied) {
        add(&self.counters.steps_completed, outcome.completed);
        add(&self.counters.steps_retried, outcome.retried);
        add(&self.counters.steps_failed, outcome.failed);
        add(&self.counters.stale_results, outcome.stale);
        add(&self.counters.dead_letters, outcome.dead);
        let metrics = self.database.metrics();
        metrics.steps_finished(whole(outcome.completed), whole(outcome.failed));
        metrics.retries(Retry::Timeout, whole(outcome.timed_out));
        metrics.retries(Retry::Failure, whole(outcome.retried - outcome.timed_out));
        metrics.stale_results(whole(outcome.stale));
        metrics.dead_letters(whole(outcome.dead));
        self.finished(&outcome.finished, outcome.errored.unsigned_abs() as usize);
    }

    pub(super) fn recovered(&self, outcome: &Recovered) {
        add(&self.counters.steps_recovered, outcome.recovered);
        add(&self.counters.steps_failed, outcome.failed);
        let metrics = self.database.metrics();
        metrics.lost_leases(whole(outcome.recovered) + whole(outcome.failed));
        metrics.retries(Retry::LostLease, whole(outcome.recovered));
        metrics.steps_finished(0, whole(outcome.failed));
        self.finished(&outcome.finished, outcome.finished.len());
    }

    pub(super) fn overdue(&self, outcome: &Overdue) {
        add(&self.counters.steps_failed, outcome.failed);
        self.counters.tasks_overdue.fetch_add(outcome.finished.len() as u64, Relaxed);
        self.database.metrics().steps_finished(0, whole(outcome.failed));
        self.finished(&outcome.finished, outcome.finished.len());
    }

    pub(super) fn removed(&self, tasks: i32) {
        add(&self.counters.tasks_removed, tasks);
    }

    pub(super) fn cycle(&self) {
        self.counters.cycles.fetch_add(1, Relaxed);
    }

    /// `errored`: how many of the tasks are in error; the others are complete.
    fn finished(&self, tasks: &[Uuid], errored: usize) {
        self.counters.tasks_finished.fetch_add(tasks.len() as u64, Relaxed);
        let metrics = self.database.metrics();
        metrics.tasks_finished(TaskEnd::Error, errored as u64);
        metrics.tasks_finished(TaskEnd::Complete, tasks.len().saturating_sub(errored) as u64);
        metrics.finished_now(tasks);
    }

    /// Remembers how things are now, for the rates; called often.
    pub(super) fn sample(&self) {
        self.window.note(Instant::now(), self.counters.sample());
    }

    pub(super) fn summary(&self) -> Summary {
        let counters = &self.counters;
        Summary {
            cycles: counters.cycles.load(Relaxed),
            tasks_started: counters.tasks_started.load(Relaxed),
            tasks_rejected: counters.tasks_rejected.load(Relaxed),
            tasks_finished: counters.tasks_finished.load(Relaxed),
            tasks_overdue: counters.tasks_overdue.load(Relaxed),
            tasks_removed: counters.tasks_removed.load(Relaxed),
            steps_completed: counters.steps_completed.load(Relaxed),
            steps_retried: counters.steps_retried.load(Relaxed),
            steps_failed: counters.steps_failed.load(Relaxed),
            steps_recovered: counters.steps_recovered.load(Relaxed),
            stale_results: counters.stale_results.load(Relaxed),
            dead_letters: counters.dead_letters.load(Relaxed),
            rates: self.window.rates(Instant::now(), counters.sample()),
            namespaces: self.namespaces.top(&self.database.metrics().queues().latest()),
            warnings: self.database.warnings(),
        }
    }
}

impl Counters {
    fn sample(&self) -> Sample {
        let failures = [&self.steps_retried, &self.steps_failed, &self.steps_recovered];
        Sample {
            tasks_started: self.tasks_started.load(Relaxed),
            tasks_finished: self.tasks_finished.load(Relaxed),
            steps_completed: self.steps_completed.load(Relaxed),
            failures: failures.into_iter().map(|it| it.load(Relaxed)).sum(),
        }
    }
}
