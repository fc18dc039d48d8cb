//! Ends attempts whose handlers do not: out of time, told so, and still there after the grace period. On a thread of
//! tokio, so that a handler that holds Ruby's lock is no exception. The step is free for another attempt; what its
//! handler says later is not heard.

use std::sync::Arc;
use std::time::Duration;

use super::outcome::{Failure, FailureKind, Outcome};
use super::Shared;
use crate::telemetry::target;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(200);
/// What the timeout of a handler in Ruby descends from: policies that name one of these mean this one too.
const ANCESTORS: [&str; 3] = ["RuntimeError", "StandardError", "Exception"];

pub(super) async fn run(shared: Arc<Shared>) {
    let grace = shared.settings.timeout_grace;
    loop {
        let ended = tokio::select! {
            () = shared.closing.cancelled() => true,
            () = shared.abort.cancelled() => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        if ended {
            return;
        }
        shared.slots.give_up(grace, |step, took| {
            tracing::error!(
                target: target::STEP,
                task = %step.task_id,
                step = step.name,
                attempt = step.attempt,
                handler = step.handler,
                "the handler does not end: out of time, told so, and still there; the attempt is over"
            );
            let limit = step.timeout_ms.unwrap_or_default() as f64 / 1e3;
            let message =
                format!("the attempt took longer than {limit} s, and its handler did not end when it was told to");
            let ancestors = ANCESTORS.map(str::to_owned).to_vec();
            let failure = Failure { ancestors, ..Failure::new(FailureKind::Timeout, "Timeout::Error", message) };
            let (lane, outcome) = (shared.lane(step), Outcome::Failed(failure));
            lane.note_end(step, &outcome, took);
            lane.reports.push(outcome.report(step, took, shared.settings.attempt_details));
            if let Some(traces) = lane.database.traces() {
                traces.executed(step, &outcome, took);
            }
        });
    }
}
