//! Dead letters of all databases as one list, the newest first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use super::{check_note, check_texts, persist, Client};
use crate::error::{Error, Problem, Result};
use crate::signals::Topic;
use crate::store::DeadLetter;

/// A dead letter's place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterPosition {
    /// Its number.
    pub id: i64,
    /// When it was buried, in microseconds since 1970.
    pub buried_at: i64,
    /// The database that it is in, as the letter says it.
    pub database: String,
}

impl From<&DeadLetter> for LetterPosition {
    fn from(letter: &DeadLetter) -> Self {
        Self { id: letter.id, buried_at: letter.buried_at, database: letter.database.clone() }
    }
}

impl Client {
    /// Up to `limit` dead letters, of one queue or of all, the newest first, those before the one with the number
    /// `before`.
    ///
    /// # Errors
    /// [`Error::Validation`] for a number where there are several databases: each counts for itself, so
    /// [`dead_letters_after`](Self::dead_letters_after) reads on.
    pub async fn dead_letters(&self, queue: Option<&str>, limit: u32, before: Option<i64>) -> Result<Vec<DeadLetter>> {
        check_texts("the list of dead letters", queue.map(|queue| ("queue", queue)))?;
        if self.databases.count() == 1 {
            let database = self.databases.default();
            return persist(database, || database.store().dead_letters(queue, limit, before)).await;
        }
        if before.is_some() {
            let problem = Problem::new("before", "each of the databases counts for itself: give the letter itself");
            return Err(Error::validation("the list of dead letters", vec![problem]));
        }
        self.list_letters(queue, limit, |_| (i64::MAX, i64::MAX)).await
    }

    /// The same, those that come in the list after one that is, or was, in it.
    ///
    /// # Errors
    /// [`Error::Validation`] when that is in a database that is none of these.
    pub async fn dead_letters_after(
        &self,
        queue: Option<&str>,
        limit: u32,
        last: &LetterPosition,
    ) -> Result<Vec<DeadLetter>> {
        if self.databases.count() == 1 {
            return self.dead_letters(queue, limit, Some(last.id)).await;
        }
        check_texts("the list of dead letters", queue.map(|queue| ("queue", queue)))?;
        let place = self.place_of_letter(last.id, &last.database)?;
        // Of the same moment: those of earlier databases are before it, those of later ones after it.
        self.list_letters(queue, limit, |other| match other.cmp(&place) {
            std::cmp::Ordering::Less => (last.buried_at, i64::MIN),
            std::cmp::Ordering::Equal => (last.buried_at, last.id),
            std::cmp::Ordering::Greater => (last.buried_at, i64::MAX),
        })
        .await
    }

    async fn list_letters(
        &self,
        queue: Option<&str>,
        limit: u32,
        before: impl Fn(usize) -> (i64, i64),
    ) -> Result<Vec<DeadLetter>> {
        let lists = self.databases.all()?.into_iter().enumerate().map(|(place, database)| {
            let before = before(place);
            async move {
                let list = || database.store().dead_letters_by_time(queue, limit, before);
                Ok::<_, Error>(persist(database, list).await?.into_iter().map(move |letter| (place, letter)))
            }
        });
        let mut letters: Vec<_> = try_join_all(lists).await?.into_iter().flatten().collect();
        letters.sort_by_key(|(place, letter)| (Reverse(letter.buried_at), *place, Reverse(letter.id)));
        letters.truncate(limit as usize);
        Ok(letters.into_iter().map(|(_, letter)| letter).collect())
    }

    /// Puts dead letters back into the queues that they came from. Returns the numbers of those that were there.
    ///
    /// # Errors
    /// [`Error::Validation`] for a number that several databases have; [`replay_letters`](Self::replay_letters) says
    /// which is meant.
    pub async fn replay(&self, ids: &[i64], reason: Option<&str>, actor: Option<&str>) -> Result<Vec<i64>> {
        let letters: Vec<_> = ids.iter().map(|id| (*id, None)).collect();
        self.replay_letters(&letters, reason, actor).await
    }

    /// The same, of letters with the databases that they are in, as they say it; none where one has the number.
    ///
    /// # Errors
    /// As [`replay`](Self::replay), and for what is none of the databases.
    pub async fn replay_letters(
        &self,
        letters: &[(i64, Option<String>)],
        reason: Option<&str>,
        actor: Option<&str>,
    ) -> Result<Vec<i64>> {
        check_note("the replay", reason, actor)?;
        let mut replayed = Vec::new();
        for (place, ids) in self.letters_by_place(letters).await? {
            let database = self.databases.at(place)?;
            let replay = || database.store().replay_dead_letters(&ids, reason, actor);
            replayed.extend(persist(database, replay).await?);
            database.signals().publish(Topic::Requests);
            database.signals().publish(Topic::Results);
        }
        Ok(replayed)
    }

    async fn letters_by_place(&self, letters: &[(i64, Option<String>)]) -> Result<BTreeMap<usize, Vec<i64>>> {
        let mut places: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        if self.databases.count() == 1 {
            places.insert(0, letters.iter().map(|(id, _)| *id).collect());
            return Ok(places);
        }
        for (id, database) in letters {
            if let Some(database) = database {
                places.entry(self.place_of_letter(*id, database)?).or_default().push(*id);
            }
        }
        let numbers: Vec<i64> = letters.iter().filter(|(_, database)| database.is_none()).map(|(id, _)| *id).collect();
        if numbers.is_empty() {
            return Ok(places);
        }
        let looks = self.databases.all()?.into_iter().map(|database| {
            let numbers = &numbers;
            persist(database, || database.store().dead_letters_among(numbers))
        });
        let mut homes: BTreeMap<i64, usize> = BTreeMap::new();
        for (place, ids) in try_join_all(looks).await?.into_iter().enumerate() {
            for id in ids {
                if homes.insert(id, place).is_some() {
                    let problem = Problem::new("", format!("{id} is in several databases: give the letter itself"));
                    return Err(Error::validation("the number of a dead letter", vec![problem]));
                }
                places.entry(place).or_default().push(id);
            }
        }
        Ok(places)
    }

    fn place_of_letter(&self, id: i64, database: &str) -> Result<usize> {
        let place = self.databases.all()?.iter().position(|known| known.store().masked_url() == database);
        place.ok_or_else(|| {
            let problem = Problem::new("database", format!("{database} is none of the configured databases"));
            Error::validation(format!("dead letter {id}"), vec![problem])
        })
    }
}
