//! Waiting for tasks.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::{persist_for, Client, LOOK};
use crate::database::Database;
use crate::deadline;
use crate::error::{Error, Result};

/// How often a wait tells how many of its tasks have finished.
const LOOK_AROUND: Duration = Duration::from_millis(100);
const NO_ANSWER: &str = "the database does not answer";

impl Client {
    /// Waits until all of these tasks are in a terminal state, and tells `progress` how many are, about ten times a
    /// second while that changes.
    ///
    /// # Errors
    /// [`Error::UnknownTask`]; [`Error::WaitTimeout`] with what the first unfinished task waits for.
    pub async fn wait(&self, task_ids: &[Uuid], timeout: Option<Duration>, progress: impl Fn(usize)) -> Result<()> {
        let Some(first) = task_ids.first() else { return Ok(()) };
        let deadline = timeout.map(deadline::after);
        // Whoever waits for a task waits for the database too, as long as that and no longer.
        let patience = timeout.unwrap_or(Duration::MAX);
        let mut waits: VecDeque<(&Database, Uuid, watch::Receiver<bool>)> = VecDeque::with_capacity(task_ids.len());
        let look = async {
            let groups = self.by_home(task_ids, patience).await?;
            // Subscribed before the look into the database, so that no end falls between the two.
            for (database, task_ids) in &groups {
                waits.extend(task_ids.iter().map(|id| (*database, *id, database.signals().subscribe_task(*id))));
            }
            try_join_all(groups.iter().map(|(database, task_ids)| look_for(database, task_ids, patience))).await
        };
        match tokio::time::timeout(patience.max(LOOK), look).await {
            Ok(looked) => drop(looked?),
            Err(_) => return Err(late(*first, patience, NO_ANSWER)),
        }
        let mut reported = usize::MAX;
        let mut look = Instant::now();
        loop {
            // All of them now and then; meanwhile only those that stand at the head, of which there may be thousands.
            let due = Instant::now() >= look;
            if due {
                waits.retain(is_open);
                look = Instant::now() + LOOK_AROUND;
            }
            while waits.front().is_some_and(|wait| !is_open(wait)) {
                waits.pop_front();
            }
            let done = task_ids.len() - waits.len();
            if (due || waits.is_empty()) && done != reported {
                progress(done);
                reported = done;
            }
            let Some((database, task_id, wait)) = waits.front_mut() else { return Ok(()) };
            let until = deadline.map_or(look, |deadline| deadline.min(look));
            let _whether_in_time = tokio::time::timeout_at(until, wait.wait_for(|finished| *finished)).await.is_ok();
            if !*wait.borrow() && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let task_id = *task_id;
                let reason = tokio::time::timeout(LOOK, database.store().waits_for(task_id)).await;
                return Err(late(
                    task_id,
                    timeout.unwrap_or_default(),
                    &match reason {
                        Ok(Ok(Some(reason))) => reason,
                        Ok(Ok(None)) => "waits in the queue for an orchestrator; is one running?".to_owned(),
                        Ok(Err(error)) => error.to_string(),
                        Err(_) => NO_ANSWER.to_owned(),
                    },
                ));
            }
        }
    }
}

fn is_open((_, _, wait): &(&Database, Uuid, watch::Receiver<bool>)) -> bool {
    !*wait.borrow() && wait.has_changed().is_ok()
}

/// Settles those of these tasks that have finished, and makes sure that the others exist.
async fn look_for(database: &Database, task_ids: &[Uuid], patience: Duration) -> Result<()> {
    let store = database.store();
    let known = persist_for(database, patience, || store.known_among(task_ids)).await?;
    let ended: Vec<Uuid> = known.iter().filter(|(_, ended)| *ended).map(|(task_id, _)| *task_id).collect();
    database.signals().settle(&ended);
    let known: HashSet<Uuid> = known.into_iter().map(|(task_id, _)| task_id).collect();
    let missing: Vec<Uuid> = task_ids.iter().copied().filter(|id| !known.contains(id)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let unknown = persist_for(database, patience, || store.unknown_among(&missing)).await?;
    unknown.first().map_or(Ok(()), |task_id| Err(Error::UnknownTask { task_id: *task_id }))
}

fn late(task_id: Uuid, timeout: Duration, reason: &str) -> Error {
    Error::WaitTimeout { task_id, timeout, reason: reason.to_owned() }
}
