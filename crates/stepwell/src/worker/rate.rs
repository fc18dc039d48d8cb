//! How many steps the slots of a worker finish in a second while there are any: what a worker may claim ahead follows from it.

use std::time::{Duration, Instant};

/// How long is counted before the rate is made again.
const WINDOW: Duration = Duration::from_millis(20);

/// How long ago what was counted has no say any more, in seconds.
const PAST: f64 = 0.1;

/// The rate is at most so many times what was finished: slots that had little to do may be as fast as they look, or not.
const GROWTH: f64 = 4.0;

/// The recent rate.
#[derive(Debug)]
pub(super) struct Rate {
    since: Instant,
    finished: u32,
    /// How long there was nothing to do, and since when there is not.
    starved: Duration,
    starving: Option<Instant>,
    per_second: f64,
}

impl Rate {
    /// Of slots that have nothing to do yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, finished: 0, starved: Duration::ZERO, starving: Some(now), per_second: 0.0 }
    }

    /// There is something to do.
    pub(super) fn fed(&mut self, now: Instant) {
        if let Some(since) = self.starving.take() {
            self.starved += now.saturating_duration_since(since.max(self.since));
        }
    }

    /// A step is finished; `starving`: and nothing is left to do.
    pub(super) fn finished(&mut self, starving: bool) {
        self.finished += 1;
        if starving {
            self.starving.get_or_insert_with(Instant::now);
        }
    }

    /// Steps a second.
    pub(super) fn current(&mut self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            let starving =
                self.starving.map_or(Duration::ZERO, |since| now.saturating_duration_since(since.max(self.since)));
            let (elapsed, starved) = (elapsed.as_secs_f64(), (self.starved + starving).as_secs_f64());
            let finished = f64::from(self.finished);
            let able = (finished / (elapsed - starved).max(1e-6)).min(finished / elapsed * GROWTH);
            // The longer that was, or the longer there was nothing to do, the less the past says.
            let weight = (elapsed / PAST).max(starved / elapsed).min(1.0);
            self.per_second += (able - self.per_second) * weight;
            (self.since, self.finished, self.starved) = (now, 0, Duration::ZERO);
        }
        self.per_second
    }

    /// One that stays.
    #[cfg(test)]
    pub(super) fn fixed(per_second: f64) -> Self {
        Self { per_second, ..Self::new(Instant::now() + Duration::from_secs(60)) }
    }

    /// What it was when it was last made.
    pub(super) fn last(&self) -> f64 {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Slots that have steps for `busy` and nothing for `starved`, again and again, and finish `steps` each time.
    fn run(
        rate: &mut Rate,
        mut now: Instant,
        times: u32,
        steps: u32,
        busy: Duration,
        starved: Duration,
    ) -> (Instant, f64) {
        let mut current = 0.0;
        for _ in 0..times {
            rate.fed(now);
            now += busy;
            (0..steps).for_each(|_| rate.finished(false));
            if !starved.is_zero() {
                rate.starving = Some(now);
            }
            now += starved;
            current = rate.current(now);
        }
        (now, current)
    }

    fn about(rate: f64, expected: f64) -> bool {
        (rate / expected - 1.0).abs() < 0.05
    }

    #[test]
    fn slots_that_always_have_steps_are_as_fast_as_they_are() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let (now, current) = run(&mut rate, start, 50, 10, 20 * MS, Duration::ZERO);
        assert!(about(current, 500.0), "{current}");
        let (now, current) = run(&mut rate, now, 1, 100, 20 * MS, Duration::ZERO);
        assert!(about(current, 1_400.0), "a fifth of the way to 5,000: {current}");
        let (_, current) = run(&mut rate, now, 1, 0, 200 * MS, Duration::ZERO);
        assert!(current.abs() < 1.0, "what was long ago says nothing: {current}");
    }

    #[test]
    fn slots_that_lack_steps_count_for_more_than_they_finish_but_not_for_more_than_can_be_known() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let (now, current) = run(&mut rate, start, 50, 10, 10 * MS, 10 * MS);
        assert!(about(current, 1_000.0), "half of the time: {current}");
        let (_, current) = run(&mut rate, now, 1, 20, MS, 19 * MS);
        assert!(about(current, 3_850.0), "at once, and four times of what was finished at most: {current}");
    }

    #[test]
    fn what_lasts_longer_than_a_window_counts_where_it_falls() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let now = start + 1_000 * MS;
        assert_eq!(rate.current(now), 0.0);
        rate.fed(now + 10 * MS);
        (0..10).for_each(|_| rate.finished(false));
        let current = rate.current(now + 20 * MS);
        assert!(about(current, 500.0), "half a window, and half of what that says: {current}");
    }
}
