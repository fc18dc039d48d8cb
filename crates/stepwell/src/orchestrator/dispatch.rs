//! The dispatch loop: ready steps -> the queues of their namespaces, as there is room.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::pause;
use super::summary::Totals;
use crate::database::Database;

/// `due`: upkeep has seen that steps wait. Until there are some, and as long as nothing is limited, the loop does not look
/// at all, so an idle system does not pay for it.
pub(super) async fn run(database: Database, totals: Arc<Totals>, due: Arc<Notify>, shutdown: CancellationToken) {
    let (batch, polling_interval) = (database.config().dispatch.batch, database.config().orchestrator.polling_interval);
    let mut progress = database.signals().progress();
    let mut backoff = database.backoff("dispatch");
    while !shutdown.is_cancelled() {
        progress.mark_unchanged(); // what is said from here on is heard below
        match database.store().dispatch_steps(batch).await {
            Ok(outcome) => {
                backoff.succeeded();
                totals.dispatched(&outcome);
                database.signals().publish_steps(&outcome.namespaces);
                if outcome.dispatched > 0 {
                    continue;
                }
                let woken = async {
                    if outcome.attentive {
                        tokio::select! {
                            _ = progress.changed() => {}
                            () = due.notified() => {}
                            () = tokio::time::sleep(polling_interval) => {}
                        }
                    } else {
                        due.notified().await;
                    }
                };
                shutdown.run_until_cancelled(woken).await;
            }
            Err(error) => pause(backoff.failed(&error), &shutdown).await,
        }
    }
}
