//! The summary loop: remembers the totals for the rates, and every few minutes logs what was done since the last line.
//! Nothing was done: no line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::rates::EVERY;
use super::{Summary, Totals};
use crate::database::Database;
use crate::orchestrator::pause;

pub(in crate::orchestrator) async fn run(database: Database, totals: Arc<Totals>, shutdown: CancellationToken) {
    let every = database.config().orchestrator.summary_every;
    let queues = database.metrics().queues();
    // Where the queues stand, before anything comes into them.
    shutdown.run_until_cancelled(queues.refresh(database.store())).await;
    let (mut last, mut logged) = (totals.summary(), Instant::now());
    while !shutdown.is_cancelled() {
        pause(EVERY.min(every), &shutdown).await;
        totals.sample();
        if logged.elapsed() >= every && !shutdown.is_cancelled() {
            shutdown.run_until_cancelled(queues.refresh(database.store())).await;
            let now = totals.summary();
            log(database.store().masked_url(), &last, &now, logged.elapsed());
            (last, logged) = (now, Instant::now());
        }
    }
}

fn log(database: &str, last: &Summary, now: &Summary, over: Duration) {
    if now.done() == last.done() {
        return;
    }
    let busiest: Vec<String> = now.namespaces.iter().map(|it| format!("{}={}", it.namespace, it.steps)).collect();
    tracing::info!(
        database,
        seconds = over.as_secs(),
        cycles = now.cycles - last.cycles,
        tasks_started = now.tasks_started - last.tasks_started,
        tasks_finished = now.tasks_finished - last.tasks_finished,
        steps_completed = now.steps_completed - last.steps_completed,
        steps_retried = now.steps_retried - last.steps_retried,
        steps_failed = now.steps_failed - last.steps_failed,
        steps_recovered = now.steps_recovered - last.steps_recovered,
        stale_results = now.stale_results - last.stale_results,
        dead_letters = now.dead_letters - last.dead_letters,
        steps_per_second = (now.steps_completed - last.steps_completed) as f64 / over.as_secs_f64().max(0.001),
        busiest_since_start = busiest.join(","),
        "what the orchestrator has done"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::Activity;
    use crate::telemetry::logged;

    #[test]
    fn a_line_says_what_was_done_and_nothing_done_is_no_line() {
        let before = Summary { cycles: 10, tasks_finished: 5, steps_completed: 20, ..Summary::default() };
        let namespaces = vec![Activity { namespace: "orders".into(), steps: 60 }];
        let now = Summary { cycles: 30, tasks_finished: 8, steps_completed: 80, namespaces, ..before.clone() };
        let idle = Summary { cycles: 50, ..now.clone() };
        let lines = logged(|| {
            log("postgres://here", &before, &now, Duration::from_secs(10));
            log("postgres://here", &now, &idle, Duration::from_secs(10));
        });
        assert_eq!(lines.len(), 1, "{lines:#?}");
        for part in
            ["INFO", "cycles=20 ", "tasks_finished=3 ", "steps_completed=60 ", "steps_per_second=6 ", "orders=60"]
        {
            assert!(lines[0].contains(part), "{part}: {lines:#?}");
        }
    }
}
