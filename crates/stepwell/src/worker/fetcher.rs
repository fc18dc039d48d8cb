//! Claims steps while there is room for them, each namespace in turn.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rand::Rng;

use super::lane::Lane;
use super::{lost_answers, Shared};
use crate::error::{Error, Result};
use crate::signals::Wakeups;
use crate::store::ClaimedStep;
use crate::telemetry::health::Pulse;
use crate::telemetry::metrics::Hop;
use crate::telemetry::traces::StepTrace;

/// When to look for more after a claim that brought less than was wanted: a part of what it took may have been of no use.
const SOON: Duration = Duration::from_millis(20);

/// `away`: why the database was not there when the worker started.
pub(super) async fn run(shared: Arc<Shared>, lane: Arc<Lane>, away: Option<Error>) {
    if let Some(error) = away {
        lane.arrive(&shared, error).await;
    }
    let (_registration, mut wakeups) = lane.database.signals().steps(&lane.namespaces);
    let mut backoff = lane.database.backoff("worker");
    let pulse = lane.database.pulse("claim", shared.settings.polling_interval);
    let mut turn = 0;
    while !shared.quiet.is_cancelled() {
        if lane.answers.are_doubted() {
            if let Err(error) = lost_answers::give_back(&shared, &lane).await {
                let pause = tokio::time::sleep(backoff.failed(&error));
                shared.quiet.run_until_cancelled(pause).await;
                continue;
            }
        }
        let want = if lane.reports.are_behind(shared.settings.report_batch) {
            shared.slots.rest(lane.place);
            0 // the database does not take results: no use in making more
        } else {
            shared.slots.demand(lane.place, coming(&shared, &lane))
        };
        if want == 0 {
            let room = tokio::time::timeout(shared.settings.polling_interval, shared.slots.room(lane.place).notified());
            shared.quiet.run_until_cancelled(room).await;
            pulse.succeeded();
            continue;
        }
        wakeups.mark_unchanged();
        let claimed = claim(&shared, &lane, want, turn).await;
        shared.slots.claimed(lane.place, want, claimed.as_ref().ok().copied());
        match claimed {
            Ok(_) => pulse.succeeded(),
            Err(_) => pulse.turned(),
        }
        match claimed {
            Ok(count) => {
                backoff.succeeded();
                turn += usize::from(count > 0);
                if count < want {
                    // Nothing is left, most likely, and what has come since has said so.
                    let first = if count > 0 { SOON } else { shared.settings.polling_interval };
                    lane.passes.set_empty(true);
                    shared.quiet.run_until_cancelled(wait_for_steps(&shared, &lane, &mut wakeups, &pulse, first)).await;
                    lane.passes.set_empty(false);
                }
            }
            Err(error) => {
                let pause = tokio::time::sleep(backoff.failed(&error));
                shared.quiet.run_until_cancelled(pause).await;
            }
        }
    }
    give_back(&shared, &lane).await;
}

/// How many steps results on their way may bring from an orchestrator of this process.
fn coming(shared: &Shared, lane: &Lane) -> usize {
    if shared.lanes.len() > 1 || lane.database.results().is_none() {
        return 0;
    }
    lane.reports.waiting().min(lane.passes.left())
}

/// Claims up to `want` steps, starting with another namespace each turn so that none is always last.
async fn claim(shared: &Shared, lane: &Lane, want: usize, turn: usize) -> Result<usize> {
    let mut claimed = 0;
    for offset in 0..lane.namespaces.len() {
        let namespace = &lane.namespaces[(turn + offset) % lane.namespaces.len()];
        let batch = u32::try_from(want - claimed).unwrap_or(u32::MAX);
        let since = Instant::now();
        let claiming = lane.answers.begin(); // until what it brings is known
        let steps = claim_from(shared, lane, namespace, batch).await.inspect_err(|error| claiming.failed(error))?;
        if !steps.is_empty() {
            claimed += steps.len();
            lane.passes.claimed(steps.len());
            lane.reports.opened(&steps);
            shared.slots.put_at_hand(steps, since);
        }
        if claimed >= want {
            break;
        }
    }
    Ok(claimed)
}

/// Claims up to `batch` steps. A claim that fails for what is in it is halved until the bad step is alone; that one ends
/// in error that says why.
async fn claim_from(shared: &Shared, lane: &Lane, namespace: &str, mut batch: u32) -> Result<Vec<ClaimedStep>> {
    let store = lane.database.store();
    loop {
        let since = lane.database.traces().map(|_| SystemTime::now());
        // Not cancelled half way: what is claimed must end up at hand.
        let started = Instant::now();
        let claimed = store.claim_steps(namespace, batch, &shared.worker_id, shared.settings.lease).await;
        match &claimed {
            Ok(steps) => lane.database.metrics().hop(Hop::Claim, started.elapsed(), steps.len() as u64),
            Err(_) => lane.database.metrics().hop_failed(Hop::Claim),
        }
        match claimed {
            Err(error) if error.blames_message() && batch > 1 => batch /= 2,
            Err(error) if error.blames_message() => {
                if store.bury_message(&format!("{namespace}_queue"), false).await? {
                    tracing::warn!(namespace, %error, "a step that cannot be claimed has ended in error");
                }
                return Ok(Vec::new());
            }
            Err(error) if error.asks_for_less() && batch > 1 => batch /= 2,
            Ok(mut steps) => {
                mark(lane, &mut steps, started, since);
                return Ok(steps);
            }
            failed => return failed,
        }
    }
}

/// Where steps came from, and the traces of those that have one; their claim set out at `started`, and `since` where spans are
/// recorded.
pub(super) fn mark(lane: &Lane, steps: &mut [ClaimedStep], started: Instant, since: Option<SystemTime>) {
    for step in steps.iter_mut() {
        step.lane = lane.place;
        step.claimed = Some(started);
        step.trace = step.trace_context.as_deref().and_then(|json| StepTrace::of(json, since.is_some()));
    }
    if let (Some(traces), Some(since)) = (lane.database.traces(), since) {
        traces.claimed(since, steps);
    }
}

/// Until something wakes the worker, or a look into its queues finds a message, the first after `pause`. A look that fails is
/// left to the claim.
async fn wait_for_steps(shared: &Shared, lane: &Lane, wakeups: &mut Wakeups, pulse: &Pulse, mut pause: Duration) {
    // With jitter: of two workers in step the same one would be first every time, also for a step that it gives back
    // because it lacks the handler.
    let jittered = |pause: Duration| pause.mul_f64(rand::rng().random_range(0.75..=1.25));
    while tokio::time::timeout(jittered(pause), wakeups.changed()).await.is_err() {
        pause = shared.settings.polling_interval;
        if lane.answers.are_doubted() {
            return;
        }
        for namespace in &lane.namespaces {
            if lane.database.store().has_messages(&format!("{namespace}_queue")).await.unwrap_or(true) {
                return;
            }
        }
        pulse.succeeded();
    }
}

async fn give_back(shared: &Shared, lane: &Lane) {
    release(shared, lane, shared.slots.drain(lane.place)).await;
}

/// Gives back what nobody has started.
pub(super) async fn release(shared: &Shared, lane: &Lane, unstarted: Vec<Arc<ClaimedStep>>) {
    if unstarted.is_empty() {
        return;
    }
    match lane.database.store().release_steps(&shared.worker_id, &unstarted, std::time::Duration::ZERO).await {
        Ok(_) => {
            for step in &unstarted {
                lane.reports.forget(step.claim_id);
            }
            lane.database.signals().publish_steps(&lane.namespaces);
        }
        Err(error) => {
            tracing::warn!(%error, steps = unstarted.len(), "steps could not be given back; their claims expire")
        }
    }
}
