//! Where tasks are. An id does not say it, so where there are several databases they are asked, all at once: one that is
//! away does not hide what the others have.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::StreamExt;
use uuid::Uuid;

use super::{persist_for, Client, LOOK, PERSISTENCE};
use crate::database::Database;
use crate::error::Result;
use crate::signals::lock;

/// Most tasks whose home is remembered; beyond it all are forgotten.
const REMEMBERED: usize = 100_000;

/// The places of the databases of tasks that were met before. Tasks do not move.
#[derive(Debug, Default)]
pub(super) struct Homes(Mutex<HashMap<Uuid, usize>>);

impl Homes {
    pub(super) fn note(&self, place: usize, task_ids: impl IntoIterator<Item = Uuid>) {
        let mut homes = lock(&self.0);
        if homes.len() >= REMEMBERED {
            homes.clear();
        }
        homes.extend(task_ids.into_iter().map(|task_id| (task_id, place)));
    }
}

impl Client {
    /// The database that a task is on; the default one when it is on none, to say so.
    pub(super) async fn home(&self, task_id: Uuid) -> Result<&Database> {
        if self.databases.count() == 1 {
            return Ok(self.databases.default());
        }
        let places = self.locate(&[task_id], PERSISTENCE).await?;
        self.databases.at(places.get(&task_id).copied().unwrap_or_default())
    }

    /// These tasks by the databases that they are on.
    pub(super) async fn by_home<'a>(
        &self,
        task_ids: &'a [Uuid],
        patience: Duration,
    ) -> Result<Vec<(&Database, Cow<'a, [Uuid]>)>> {
        if self.databases.count() == 1 {
            return Ok(vec![(self.databases.default(), Cow::Borrowed(task_ids))]);
        }
        let places = self.locate(task_ids, patience).await?;
        let mut groups = vec![Vec::new(); self.databases.count()];
        for task_id in task_ids {
            groups[places.get(task_id).copied().unwrap_or_default()].push(*task_id);
        }
        let groups = groups.into_iter().enumerate().filter(|(_, task_ids)| !task_ids.is_empty());
        groups.map(|(place, task_ids)| Ok((self.databases.at(place)?, Cow::Owned(task_ids)))).collect()
    }

    /// The places of those of these tasks that are anywhere.
    ///
    /// # Errors
    /// [`Error::Database`](crate::Error::Database) when some were found nowhere and not every database could be asked.
    async fn locate(&self, task_ids: &[Uuid], patience: Duration) -> Result<HashMap<Uuid, usize>> {
        let mut found: HashMap<Uuid, usize> = {
            let homes = lock(&self.homes.0);
            task_ids.iter().filter_map(|task_id| Some((*task_id, *homes.get(task_id)?))).collect()
        };
        let mut failed = None;
        // First by the primary key, where nearly all of them are; what has no row yet is looked for in the queues.
        for patience in [None, Some(patience)] {
            let missing: Arc<[Uuid]> = task_ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
            let mut missing_still: HashSet<Uuid> = missing.iter().copied().collect();
            if missing.is_empty() {
                break;
            }
            let mut looks: FuturesUnordered<_> = (0..self.databases.count())
                .map(|place| {
                    let (client, missing) = (self.clone(), missing.clone());
                    async move { (place, client.look_at(place, missing, patience).await) }
                })
                .collect();
            while let Some((place, look)) = looks.next().await {
                match look {
                    Ok(task_ids) => {
                        self.homes.note(place, task_ids.iter().copied());
                        missing_still.retain(|task_id| !task_ids.contains(task_id));
                        found.extend(task_ids.into_iter().map(|task_id| (task_id, place)));
                    }
                    Err(error) => failed = Some(error),
                }
                if missing_still.is_empty() {
                    return Ok(found);
                }
            }
        }
        match failed {
            Some(error) if task_ids.iter().any(|task_id| !found.contains_key(task_id)) => Err(error),
            _ => Ok(found),
        }
    }

    /// Those of these tasks that one database has: quickly by its table, or, with patience, wherever they are.
    async fn look_at(&self, place: usize, task_ids: Arc<[Uuid]>, patience: Option<Duration>) -> Result<HashSet<Uuid>> {
        let database = self.databases.at(place)?.clone();
        let store = database.store().clone();
        let look = store.see_through(async move {
            let store = database.store();
            let Some(patience) = patience else {
                let look = tokio::time::timeout(LOOK, store.tasks_among(&task_ids)).await;
                return Ok(look.unwrap_or_else(|_| Ok(Vec::new()))?.into_iter().collect());
            };
            let unknown = persist_for(&database, patience, || store.unknown_among(&task_ids)).await?;
            let unknown: HashSet<Uuid> = unknown.into_iter().collect();
            Ok(task_ids.iter().copied().filter(|task_id| !unknown.contains(task_id)).collect())
        });
        look.await.unwrap_or_else(|_panicked| Ok(HashSet::new()))
    }
}
