//! Claims whose answer was lost with its connection. Nobody executes their steps, so the worker gives them back, and the attempts
//! are not counted; without that they would expire, and a step with one attempt would end in error without having run.
//!
//! A claim is lost when the worker does not know it though every call that can have made it has ended. So the database's clock is
//! read first; when all calls that were under way then have ended, what is unknown of the time before is given back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sqlx::types::chrono::{DateTime, Utc};

use super::lane::Lane;
use super::Shared;
use crate::error::{Error, Result};
use crate::signals::lock;

/// Of one lane.
#[derive(Debug, Default)]
pub(super) struct LostAnswers {
    state: Mutex<State>,
    /// Whether there is a doubt: what each turn of the fetcher asks.
    doubted: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the next call that may claim steps.
    next: u64,
    under_way: BTreeSet<u64>,
    doubt: Option<Doubt>,
}

#[derive(Debug, Clone, Copy)]
struct Doubt {
    /// When the last answer was lost.
    since: Instant,
    /// What is older, by the database's clock, is judged when the calls before this number have ended.
    dated: Option<(DateTime<Utc>, u64)>,
    /// Not before.
    due: Instant,
}

/// A call that may claim steps. Dropped when what it brought is known.
#[derive(Debug)]
pub(crate) struct Claiming<'a> {
    answers: &'a LostAnswers,
    number: u64,
}

impl Claiming<'_> {
    /// The call has failed: when its connection broke, it may have claimed steps all the same.
    pub(crate) fn failed(&self, error: &Error) {
        let broke = error.sqlstate().is_none_or(|code| code.starts_with("08") || code.starts_with("57P"));
        if error.is_transient() && broke {
            let now = Instant::now();
            lock(&self.answers.state).doubt = Some(Doubt { since: now, dated: None, due: now });
            self.answers.doubted.store(true, Relaxed);
        }
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        lock(&self.answers.state).under_way.remove(&self.number);
    }
}

impl LostAnswers {
    pub(super) fn begin(&self) -> Claiming<'_> {
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        state.under_way.insert(number);
        Claiming { answers: self, number }
    }

    /// Whether answers were lost.
    pub(super) fn are_doubted(&self) -> bool {
        self.doubted.load(Relaxed)
    }

    /// What is to be done now; nothing while there is no doubt, or calls are under way that have to end first.
    fn due(&self) -> Option<Doubt> {
        let state = lock(&self.state);
        let ended = |calls| state.under_way.first().is_none_or(|first| *first >= calls);
        state.doubt.filter(|doubt| Instant::now() >= doubt.due && doubt.dated.is_none_or(|(_, calls)| ended(calls)))
    }

    fn date(&self, doubt: Doubt, before: DateTime<Utc>) {
        let mut state = lock(&self.state);
        let calls = state.next;
        if let Some(current) = state.doubt.as_mut().filter(|current| current.since == doubt.since) {
            current.dated = Some((before, calls));
        }
    }

    /// What was due is done. The server may still be at a call that was given up, so it is done again until that has an end, too.
    fn settled(&self, doubt: Doubt, again: Duration, until: Duration) {
        let mut state = lock(&self.state);
        let Some(current) = state.doubt.as_mut().filter(|current| current.since == doubt.since) else { return };
        if doubt.since.elapsed() < until {
            (current.dated, current.due) = (None, Instant::now() + again);
        } else {
            state.doubt = None;
            self.doubted.store(false, Relaxed);
        }
    }
}

/// Gives back what answers that were lost have claimed, as far as that can be told by now.
pub(super) async fn give_back(shared: &Shared, lane: &Lane) -> Result<()> {
    let store = lane.database.store();
    while let Some(doubt) = lane.answers.due() {
        let Some((before, _)) = doubt.dated else {
            lane.answers.date(doubt, store.clock().await?);
            continue;
        };
        let known = lane.reports.open_claims();
        let namespaces = store.release_unknown_claims(&shared.worker_id, &known, before).await?;
        if !namespaces.is_empty() {
            tracing::warn!(namespaces = namespaces.join(","), "steps whose claim was not answered were given back");
            lane.database.signals().publish_steps(&namespaces);
        }
        let until = lane.database.config().database.call_timeout + shared.settings.polling_interval;
        lane.answers.settled(doubt, shared.settings.lease / 6, until);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Error {
        Error::Database { url: "postgres://here".into(), source: sqlx::Error::PoolTimedOut }
    }

    #[test]
    fn what_is_unknown_is_judged_when_the_calls_of_that_time_have_ended() {
        let answers = LostAnswers::default();
        let (lost, other) = (answers.begin(), answers.begin());
        assert!(!answers.are_doubted() && answers.due().is_none());
        lost.failed(&broken());
        drop(lost);
        let doubt = answers.due().unwrap();
        assert!(answers.are_doubted() && doubt.dated.is_none(), "first the clock is read");
        answers.date(doubt, DateTime::UNIX_EPOCH);
        assert!(answers.due().is_none(), "the other call may have claimed before that");
        let later = answers.begin();
        drop(other);
        let doubt = answers.due().unwrap();
        assert!(doubt.dated.is_some(), "one that began later cannot have");
        answers.settled(doubt, Duration::ZERO, Duration::from_secs(60));
        assert!(answers.due().unwrap().dated.is_none(), "the server may still be at it");
        answers.settled(doubt, Duration::ZERO, Duration::ZERO);
        assert!(!answers.are_doubted() && answers.due().is_none());
        drop(later);
    }

    #[test]
    fn an_answer_that_says_no_is_no_lost_one() {
        let answers = LostAnswers::default();
        answers.begin().failed(&Error::Stopped { what: "it" });
        assert!(!answers.are_doubted());
    }
}
