//! How much per second, lately: the totals of a minute ago are remembered, and little of what came between.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::signals::lock;

/// Rates are of the last minute, and of what has passed since the last sample.
const WINDOW: Duration = Duration::from_secs(60);
/// How often the totals are remembered, at most.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) tasks_started: u64,
    pub(super) tasks_finished: u64,
    pub(super) steps_completed: u64,
    pub(super) failures: u64,
}

/// What an orchestrator does per second, over the last minute or since it started.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Rates {
    /// Tasks that started.
    pub tasks_started: f64,
    /// Tasks that finished.
    pub tasks_finished: f64,
    /// Steps that completed.
    pub steps_completed: f64,
    /// Attempts that failed, or were lost with their worker.
    pub failures: f64,
}

#[derive(Debug)]
pub(super) struct Window {
    samples: Mutex<VecDeque<(Instant, Sample)>>,
}

impl Default for Window {
    fn default() -> Self {
        Self { samples: Mutex::new(VecDeque::from([(Instant::now(), Sample::default())])) }
    }
}

impl Window {
    /// Remembers the totals, if it is time for that.
    pub(super) fn note(&self, now: Instant, sample: Sample) {
        let mut samples = lock(&self.samples);
        if samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= EVERY) {
            samples.push_back((now, sample));
            // The first is the last one from before the window.
            while samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
                samples.pop_front();
            }
        }
    }

    pub(super) fn rates(&self, now: Instant, sample: Sample) -> Rates {
        let samples = lock(&self.samples);
        let Some((at, before)) = samples.front() else { return Rates::default() };
        let seconds = now.duration_since(*at).as_secs_f64().max(0.001);
        let rate = |of: fn(&Sample) -> u64| of(&sample).saturating_sub(of(before)) as f64 / seconds;
        Rates {
            tasks_started: rate(|it| it.tasks_started),
            tasks_finished: rate(|it| it.tasks_finished),
            steps_completed: rate(|it| it.steps_completed),
            failures: rate(|it| it.failures),
        }
    }
}

impl std::ops::Add for Rates {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            tasks_started: self.tasks_started + other.tasks_started,
            tasks_finished: self.tasks_finished + other.tasks_finished,
            steps_completed: self.steps_completed + other.steps_completed,
            failures: self.failures + other.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_last_minute_and_little_is_kept() {
        let window = Window::default();
        let start = lock(&window.samples)[0].0;
        let steps = |steps_completed| Sample { steps_completed, ..Sample::default() };
        // 100 a second for ten minutes, then nothing.
        for tenth in 0..6_000u64 {
            window.note(start + Duration::from_millis(tenth * 100), steps(tenth * 10));
        }
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!((window.rates(at(600), steps(60_000)).steps_completed - 100.0).abs() < 1.0);
        assert!(lock(&window.samples).len() <= 14);
        for second in 600..700 {
            window.note(at(second), steps(60_000));
        }
        assert!(window.rates(at(700), steps(60_000)).steps_completed.abs() < f64::EPSILON);
    }
}
