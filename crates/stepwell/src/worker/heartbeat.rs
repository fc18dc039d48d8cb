//! Extends the leases of all claims that this worker knows of in one statement, three times a lease. On a thread of tokio,
//! so a handler that holds Ruby's lock for a minute keeps its lease.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;

pub(super) async fn run(shared: Arc<Shared>) {
    let mut backoff = shared.database.backoff("heartbeat");
    let interval = shared.settings.lease / 3;
    let mut pause = interval;
    loop {
        let ended = tokio::select! {
            () = shared.closing.cancelled() => true,
            () = shared.abort.cancelled() => true,
            () = tokio::time::sleep(pause) => false,
        };
        if ended {
            return;
        }
        pause = interval;
        let claims = shared.reports.open_claims();
        if !claims.is_empty() {
            let store = shared.database.store();
            // A call that hangs, as on a network that is cut, must leave time for another connection within the lease.
            let call =
                tokio::time::timeout(interval, store.heartbeat(&shared.worker_id, &claims, shared.settings.lease));
            match call.await {
                Ok(Ok(_)) => backoff.succeeded(),
                Ok(Err(error)) => pause = backoff.failed(&error).min(interval),
                Err(_) => pause = Duration::ZERO,
            }
        }
    }
}
