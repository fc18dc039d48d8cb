//! What comes to a worker past the queues, claimed for it by an orchestrator of its process: with the answer to its results, and
//! from tasks that begin.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::lane::Lane;
use super::lost_answers::Claiming;
use super::{fetcher, Shared};
use crate::store::{Appetite, ClaimedStep};

/// A worker and its lane, as an orchestrator of its process sees them.
#[derive(Debug)]
pub(crate) struct Taker {
    pub(super) shared: Arc<Shared>,
    pub(super) lane: Arc<Lane>,
}

impl Taker {
    /// What this worker takes of the steps that come next, with so many results of its own, or so many requests; nothing where
    /// several databases share the threads.
    pub(crate) fn appetite(&self, results: usize) -> Option<Appetite<'_>> {
        let Self { shared, lane } = self;
        if shared.lanes.len() > 1 || shared.quiet.is_cancelled() {
            return None;
        }
        let alone = shared.settings.concurrency == 1;
        if alone && results > 1 {
            return None; // who does one after the other does them in the order of the queue
        }
        let steps = lane.passes.most(shared.slots.lacks(results), results).min(if alone { 1 } else { usize::MAX });
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        (steps > 0).then_some(Appetite {
            worker_id: &shared.worker_id,
            namespaces: &lane.namespaces,
            steps,
            lease: shared.settings.lease,
        })
    }

    /// A call that may claim steps for this worker begins. What is returned is kept until those are taken in.
    pub(crate) fn begin_claiming(&self) -> Claiming<'_> {
        self.lane.answers.begin()
    }

    /// Takes in steps that are claimed for it, by a call that set out at `started`, and `since` where spans are recorded.
    pub(crate) async fn take_in(&self, mut steps: Vec<ClaimedStep>, started: Instant, since: Option<SystemTime>) {
        let Self { shared, lane } = self;
        if steps.is_empty() {
            return;
        }
        fetcher::mark(lane, &mut steps, started, since);
        lane.passes.passed(steps.len());
        lane.reports.opened(&steps);
        let unwanted = shared.slots.put_at_hand_unless_closed(steps, started);
        fetcher::release(shared, lane, unwanted).await;
    }
}
