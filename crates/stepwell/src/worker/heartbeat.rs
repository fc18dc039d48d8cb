//! Extends the leases of all claims that this worker knows of in one statement, three times a lease. On a thread of tokio,
//! so a handler that holds Ruby's lock for a minute keeps its lease.

use std::sync::Arc;

use super::Shared;
use crate::backoff::Backoff;

pub(super) async fn run(shared: Arc<Shared>) {
    let mut backoff = Backoff::new("heartbeat");
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
            match shared.database.store().heartbeat(&shared.worker_id, &claims, shared.settings.lease).await {
                Ok(_) => backoff.succeeded(),
                Err(error) => pause = backoff.failed(&error).min(interval),
            }
        }
    }
}
