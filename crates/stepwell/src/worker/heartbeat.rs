//! Extends the leases of all claims that this worker knows of in one statement, three times a lease. On a thread of tokio,
//! so a handler that holds Ruby's lock for a minute keeps its lease.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lane::Lane;
use super::{lost_answers, Shared};

pub(super) async fn run(shared: Arc<Shared>, lane: Arc<Lane>) {
    let mut backoff = lane.database.backoff("heartbeat");
    let interval = shared.settings.lease / 3;
    let pulse = lane.database.pulse("heartbeat", interval);
    let mut pause = interval;
    loop {
        let ended = tokio::select! {
            () = shared.closing.cancelled() => true,
            () = tokio::time::sleep(pause) => false,
        };
        if ended {
            return;
        }
        pause = interval;
        if lane.answers.are_doubted() {
            // The fetcher does that, unless it rests. What fails here is tried again there, or the next time.
            let _ = tokio::time::timeout(interval / 2, lost_answers::give_back(&shared, &lane)).await;
        }
        let claims = lane.reports.open_claims();
        if claims.is_empty() {
            pulse.succeeded();
        } else {
            let store = lane.database.store();
            let since = Instant::now();
            // A call that hangs, as on a network that is cut, must leave time for another connection within the lease.
            let call =
                tokio::time::timeout(interval, store.heartbeat(&shared.worker_id, &claims, shared.settings.lease));
            match call.await {
                Ok(Ok(kept)) => {
                    backoff.succeeded();
                    pulse.succeeded();
                    confirm(&shared, &lane, since, claims, kept);
                }
                Ok(Err(error)) => {
                    pulse.turned();
                    pause = backoff.failed(&error).min(interval);
                }
                Err(_) => {
                    pulse.turned();
                    pause = Duration::ZERO;
                }
            }
        }
    }
}

/// Drops what stands at hand of claims that are gone: another worker has those steps, or had them.
fn confirm(shared: &Shared, lane: &Lane, since: Instant, claims: Vec<i64>, kept: Vec<i64>) {
    let kept: HashSet<i64> = kept.into_iter().collect();
    let lost = claims.into_iter().filter(|claim| !kept.contains(claim)).collect();
    let dropped = shared.slots.confirm(lane.place, since, &lost);
    if !dropped.is_empty() {
        tracing::warn!(steps = dropped.len(), "the lease on steps that had not been started was lost");
    }
    dropped.into_iter().for_each(|claim| lane.reports.forget(claim));
}
