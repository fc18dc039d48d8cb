//! Sends results: at once when no report is under way, otherwise all that came meanwhile in the next one, or beside it when they
//! are many. While there is enough to do at hand, a few milliseconds later, together with those that have come by then. When an
//! orchestrator runs in this process they do not go through the queue: one transaction reports them, applies them and brings the
//! next steps.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use sqlx::postgres::PgDatabaseError;
use tokio::sync::Notify;

use super::lane::Lane;
use super::outcome::Report;
use super::taker::Taker;
use crate::error::{Error, Result};
use crate::signals::{lock, Topic};
use crate::store::ClaimedStep;
use crate::telemetry::metrics::Hop;

/// Most bytes of one report; a single larger result still goes, alone.
const REPORT_BYTES: usize = 8 << 20;

/// Most reports that are under way at the same time.
pub(super) const REPORTERS: usize = 2;

/// Results that may wait for their report before no more steps are claimed, in reports.
const REPORTS_BEHIND: usize = 4;

/// How often a result meets an internal error of PostgreSQL before that counts as its fault.
const INTERNAL_ERRORS: u32 = 10;

/// How many results must wait for a second report to set out: fewer are not worth it.
const MANY: usize = 64;

/// Results on their way, and the open steps of each claim.
#[derive(Debug, Default)]
pub(super) struct Reports {
    state: Mutex<State>,
    ready: Notify,
    open: Mutex<HashMap<i64, usize>>,
    lost_leases: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<Report>,
    /// How many results each report under way has, by its claims. Another would have to wait for it with results of the same
    /// claims.
    under_way: Vec<(HashSet<i64>, usize)>,
}

impl Reports {
    pub(super) fn push(&self, report: Report) {
        let mut state = lock(&self.state);
        state.queue.push(report);
        let wanted = (state.under_way.is_empty() && state.queue.len() == 1) || state.queue.len() == MANY;
        drop(state);
        if wanted {
            self.ready.notify_one();
        }
    }

    /// Results that the database has not taken yet.
    pub(super) fn waiting(&self) -> usize {
        let state = lock(&self.state);
        state.queue.len() + state.under_way.iter().map(|(_, results)| results).sum::<usize>()
    }

    /// Whether there are results to report, and so few that others may as well come with them.
    fn are_few(&self) -> bool {
        let state = lock(&self.state);
        state.under_way.is_empty() && (1..MANY).contains(&state.queue.len())
    }

    /// Whether so many results wait that more would be of no use, with reports of so many.
    pub(super) fn are_behind(&self, report_batch: u32) -> bool {
        self.waiting() > REPORTS_BEHIND * report_batch as usize
    }

    /// Steps came with a claim.
    pub(super) fn opened(&self, steps: &[ClaimedStep]) {
        let mut open = lock(&self.open);
        for step in steps {
            *open.entry(step.claim_id).or_default() += 1;
        }
    }

    /// One step of a claim is settled.
    pub(super) fn forget(&self, claim_id: i64) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(&claim_id) {
            *count -= 1;
            if *count == 0 {
                open.remove(&claim_id);
            }
        }
    }

    /// The claims to keep.
    pub(super) fn open_claims(&self) -> Vec<i64> {
        lock(&self.open).keys().copied().collect()
    }

    pub(super) fn lost_leases(&self) -> u64 {
        self.lost_leases.load(Relaxed)
    }

    /// What the next report has, at most `most`; nothing when there is none, or it is better to wait for the one under way.
    fn set_out(&self, most: usize) -> Vec<Report> {
        let mut state = lock(&self.state);
        let State { queue, under_way } = &mut *state;
        if !under_way.is_empty() && queue.len() < MANY {
            return Vec::new();
        }
        let (mut batch, mut rest, mut bytes) = (Vec::new(), Vec::new(), 0);
        for report in queue.drain(..) {
            let fits = batch.is_empty() || (batch.len() < most && bytes + report.size() <= REPORT_BYTES);
            if fits && !under_way.iter().any(|(claims, _)| claims.contains(&report.claim_id())) {
                bytes += report.size();
                batch.push(report);
            } else {
                rest.push(report);
            }
        }
        *queue = rest;
        if !batch.is_empty() {
            under_way.push((batch.iter().map(Report::claim_id).collect(), batch.len()));
        }
        batch
    }

    /// The report of results of these claims has ended.
    fn arrived(&self, claims: Vec<i64>) {
        lock(&self.state).under_way.retain(|(under_way, _)| !under_way.contains(&claims[0]));
        claims.into_iter().for_each(|claim| self.forget(claim));
    }
}

pub(super) async fn run(taker: Arc<Taker>) {
    let Taker { shared, lane } = &*taker;
    let reports = &lane.reports;
    loop {
        let patience = if reports.are_few() { shared.slots.patience() } else { Duration::ZERO };
        if !patience.is_zero() {
            let more = tokio::time::timeout(patience, reports.ready.notified());
            let _ = shared.closing.run_until_cancelled(more).await; // either way they are sent now
        }
        let batch = reports.set_out(shared.settings.report_batch as usize);
        if batch.is_empty() {
            if shared.closing.is_cancelled() {
                return;
            }
            tokio::select! {
                () = reports.ready.notified() => {}
                () = shared.closing.cancelled() => {}
            }
            continue;
        }
        let claims: Vec<i64> = batch.iter().map(Report::claim_id).collect();
        let Some(queued) = shared.abort.run_until_cancelled(send(&taker, batch)).await else {
            tracing::warn!(
                results = reports.waiting(),
                "results could not be sent in time; their claims expire and the steps run again"
            );
            return;
        };
        reports.arrived(claims);
        shared.slots.make_room(); // for the fetcher, which may have waited for that
        if queued {
            lane.database.signals().publish(Topic::Results);
        }
    }
}

/// Sends a batch, however long the database is away. A batch that PostgreSQL refuses for what is in it is halved until
/// the bad result is alone; that one ends as a failure that says why. Returns whether results are in the queue now.
async fn send(taker: &Taker, batch: Vec<Report>) -> bool {
    let Taker { shared, lane } = taker;
    let mut backoff = lane.database.backoff("report");
    // After a connection broke nobody knows whether the report before had been committed: refused then means done.
    let mut uncertain = false;
    if let Some(results) = lane.database.results() {
        let said = Report::results(&batch);
        let (since, started) = (lane.database.traces().map(|_| SystemTime::now()), Instant::now());
        let claiming = lane.answers.begin(); // until what it brings is known
        match results.settle(&shared.worker_id, &said, taker.appetite(batch.len())).await {
            Ok(settled) => {
                note_refused(lane, &batch, &settled.refused);
                since.into_iter().for_each(|since| trace(lane, &batch, &settled.refused, since));
                taker.take_in(settled.claimed, started, since).await;
                return false;
            }
            Err(error) if error.is_transient() && !error.is_lock_timeout() => {
                claiming.failed(&error);
                uncertain = true;
                drop(claiming);
                tokio::time::sleep(backoff.failed(&error)).await;
            }
            Err(error) => tracing::debug!(%error, results = batch.len(), "not settled at once, reported to the queue"),
        }
    }
    let mut parts = vec![batch];
    while let Some(mut part) = parts.pop() {
        let json: Vec<String> = part.iter().map(|report| report.message().into_owned()).collect();
        let since = lane.database.traces().map(|_| SystemTime::now());
        let started = Instant::now();
        let answer = lane.database.store().report_results(&shared.worker_id, &json).await;
        match &answer {
            Ok(_) => lane.database.metrics().hop(Hop::Report, started.elapsed(), json.len() as u64),
            Err(_) => lane.database.metrics().hop_failed(Hop::Report),
        }
        match answer {
            Ok(refused) => {
                backoff.succeeded();
                let refused = if uncertain { Vec::new() } else { refused };
                note_refused(lane, &part, &refused);
                since.into_iter().for_each(|since| trace(lane, &part, &refused, since));
            }
            Err(error) if part.len() > 1 && (error.blames_message() || error.is_internal()) => {
                let rest = part.split_off(part.len() / 2);
                parts.push(rest);
                parts.push(part);
            }
            Err(error) if error.blames_message() || (error.is_internal() && backoff.failures() >= INTERNAL_ERRORS) => {
                backoff.succeeded(); // the next part has tries of its own
                if let Some(report) = part.pop() {
                    match replace(report, &error) {
                        Ok(substitute) => parts.push(vec![substitute]),
                        Err(report) => {
                            tracing::error!(task = %report.task_id(), %error, "a result cannot be reported; its claim expires")
                        }
                    }
                }
            }
            Err(error) => {
                uncertain |= error.is_transient();
                tokio::time::sleep(backoff.failed(&error)).await;
                if error.asks_for_less() && part.len() > 1 {
                    parts.push(part.split_off(part.len() / 2)); // less may get through in that time
                }
                parts.push(part);
            }
        }
    }
    true
}

fn note_refused(lane: &Lane, part: &[Report], refused: &[i32]) {
    for place in refused {
        let Some(report) = usize::try_from(*place).ok().and_then(|place| part.get(place.wrapping_sub(1))) else {
            continue;
        };
        lane.reports.lost_leases.fetch_add(1, Relaxed);
        lane.database.metrics().result_refused();
        tracing::warn!(task = %report.task_id(), "the lease on the step was lost, its result does not count");
    }
}

/// Records the reports of results that have a trace.
fn trace(lane: &Lane, part: &[Report], refused: &[i32], since: SystemTime) {
    let Some(traces) = lane.database.traces() else { return };
    for (place, report) in part.iter().enumerate() {
        if let Some(trace) = report.trace() {
            let refused = refused.iter().any(|refused| usize::try_from(*refused) == Ok(place + 1));
            traces.reported(since, report.task_id(), trace, refused);
        }
    }
}

/// What is reported instead of a result that PostgreSQL refuses.
fn replace(report: Report, error: &Error) -> Result<Report, Report> {
    let message = match error {
        Error::Database { source: sqlx::Error::Database(db), .. } => {
            // Such as "unsupported Unicode escape sequence: \u0000 cannot be converted to text."
            match db.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::detail) {
                Some(detail) => format!("{}: {detail}", db.message()),
                None => db.message().to_owned(),
            }
        }
        other => other.to_string(),
    };
    report.refused(&message)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::outcome::Outcome;
    use super::super::slots::tests::step;
    use super::*;

    fn report(claim_id: i64) -> Report {
        Outcome::Complete("1".into()).report(&ClaimedStep { claim_id, ..step() }, Duration::ZERO, 65_536)
    }

    fn push(reports: &Reports, claim_id: i64, count: usize) {
        (0..count).for_each(|_| reports.push(report(claim_id)));
    }

    fn claims(batch: &[Report]) -> Vec<i64> {
        batch.iter().map(Report::claim_id).collect()
    }

    #[test]
    fn a_second_report_sets_out_with_many_results_of_other_claims() {
        let reports = Reports::default();
        push(&reports, 1, 3);
        let first = reports.set_out(500);
        assert_eq!(claims(&first), [1; 3]);
        push(&reports, 2, MANY - 1);
        assert!(reports.set_out(500).is_empty(), "they are few");
        push(&reports, 1, 1);
        let second = reports.set_out(500);
        assert_eq!(claims(&second), [2; MANY - 1], "a result of the first claim has to wait");
        assert_eq!(reports.waiting(), 3 + MANY);
        push(&reports, 1, MANY);
        assert!(reports.set_out(500).is_empty());
        reports.arrived(claims(&first));
        assert_eq!(claims(&reports.set_out(10)), [1; 10], "that are the most");
    }

    #[tokio::test]
    async fn one_result_wakes_a_reporter_and_those_that_join_it_do_not() {
        let reports = Reports::default();
        let woken = || reports.ready.notified().now_or_never().is_some();
        assert!(!reports.are_few(), "there are none");
        push(&reports, 1, 1);
        assert!(woken() && reports.are_few());
        push(&reports, 1, MANY - 2);
        assert!(!woken() && reports.are_few());
        push(&reports, 1, 1);
        assert!(woken() && !reports.are_few(), "they are many");
        reports.set_out(500);
        push(&reports, 1, 1);
        assert!(!woken() && !reports.are_few(), "its time comes when the report has ended");
    }

    #[test]
    fn a_report_has_no_more_bytes_than_it_may_but_one_result() {
        let reports = Reports::default();
        for size in [1, REPORT_BYTES + 1, REPORT_BYTES, 1] {
            reports.push(Outcome::Complete("1".repeat(size)).report(&step(), Duration::ZERO, 65_536));
        }
        let mut sizes = Vec::new();
        loop {
            let batch = reports.set_out(500);
            if batch.is_empty() {
                break;
            }
            sizes.push(batch.iter().map(Report::size).collect::<Vec<_>>());
            reports.arrived(vec![1]);
        }
        assert_eq!(sizes, [vec![1, 1], vec![REPORT_BYTES + 1], vec![REPORT_BYTES]]);
    }
}
