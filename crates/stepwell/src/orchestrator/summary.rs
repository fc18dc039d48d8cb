//! Rolling totals of one orchestrator, in constant memory.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::store::{Applied, Initialized, Overdue, Recovered};

#[derive(Debug, Default)]
pub(super) struct Totals {
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

/// What an orchestrator has done since it started. Counts.
#[derive(Debug, Clone, Serialize)]
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
}

impl std::iter::Sum for Summary {
    fn sum<I: Iterator<Item = Self>>(summaries: I) -> Self {
        summaries.fold(Totals::default().summary(), |one, other| Self {
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
        })
    }
}

fn add(counter: &AtomicU64, count: i32) {
    counter.fetch_add(u64::from(count.unsigned_abs()), Relaxed);
}

impl Totals {
    pub(super) fn initialized(&self, outcome: &Initialized) {
        add(&self.tasks_started, outcome.initialized);
        add(&self.tasks_rejected, outcome.rejected);
        add(&self.dead_letters, outcome.dead);
        self.finished(outcome.finished.len());
    }

    pub(super) fn rejected(&self, count: usize) {
        self.tasks_rejected.fetch_add(count as u64, Relaxed);
        self.finished(count);
    }

    pub(super) fn applied(&self, outcome: &Applied) {
        add(&self.steps_completed, outcome.completed);
        add(&self.steps_retried, outcome.retried);
        add(&self.steps_failed, outcome.failed);
        add(&self.stale_results, outcome.stale);
        add(&self.dead_letters, outcome.dead);
        self.finished(outcome.finished.len());
    }

    pub(super) fn recovered(&self, outcome: &Recovered) {
        add(&self.steps_recovered, outcome.recovered);
        add(&self.steps_failed, outcome.failed);
        self.finished(outcome.finished.len());
    }

    pub(super) fn overdue(&self, outcome: &Overdue) {
        add(&self.steps_failed, outcome.failed);
        self.tasks_overdue.fetch_add(outcome.finished.len() as u64, Relaxed);
        self.finished(outcome.finished.len());
    }

    pub(super) fn removed(&self, tasks: i32) {
        add(&self.tasks_removed, tasks);
    }

    pub(super) fn cycle(&self) {
        self.cycles.fetch_add(1, Relaxed);
    }

    fn finished(&self, count: usize) {
        self.tasks_finished.fetch_add(count as u64, Relaxed);
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            cycles: self.cycles.load(Relaxed),
            tasks_started: self.tasks_started.load(Relaxed),
            tasks_rejected: self.tasks_rejected.load(Relaxed),
            tasks_finished: self.tasks_finished.load(Relaxed),
            tasks_overdue: self.tasks_overdue.load(Relaxed),
            tasks_removed: self.tasks_removed.load(Relaxed),
            steps_completed: self.steps_completed.load(Relaxed),
            steps_retried: self.steps_retried.load(Relaxed),
            steps_failed: self.steps_failed.load(Relaxed),
            steps_recovered: self.steps_recovered.load(Relaxed),
            stale_results: self.stale_results.load(Relaxed),
            dead_letters: self.dead_letters.load(Relaxed),
        }
    }
}
