//! What operating needs: pausing, dead letters, retention.

use std::time::Duration;

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::claims::interval;
use super::tasks::as_json;
use super::{OrFail, Store};
use crate::error::Result;
use crate::telemetry::mask_text;

/// A message that nobody could use. Times are microseconds since 1970.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct DeadLetter {
    /// Its number.
    #[sqlx(rename = "dead_letter_id")]
    pub id: i64,
    /// The queue that it came from.
    pub queue: String,
    /// The message, JSON text; serialized as the JSON it is.
    #[serde(serialize_with = "as_json")]
    pub message: String,
    /// Why nobody could use it.
    pub reason: String,
    /// When it was sent, where that is known.
    pub enqueued_at: Option<i64>,
    /// When it was found to be of no use.
    pub buried_at: i64,
    /// Where it is, with its number the only name that it has: URL of the database without credentials.
    #[sqlx(skip)]
    pub database: String,
}

/// What a namespace may do. None: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most steps of it in its queue and in work together.
    pub concurrency: Option<u32>,
    /// Most steps that come into its queue within any such time.
    pub rate: Option<(u32, Duration)>,
}

/// How a namespace is. Times are microseconds since 1970.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct QueueStatus {
    /// Which.
    pub namespace: String,
    /// Steps that stand in its queue; as of the next two, [`QueueStatus::MOST`] are counted at most.
    pub queued: i64,
    /// When the oldest of them came there.
    pub oldest_at: Option<i64>,
    /// Steps that wait for a place in the queue.
    pub ready: i64,
    /// Steps that wait for others with the same concurrency key.
    pub keyed: i64,
    /// Steps that workers hold.
    pub in_progress: i64,
    /// Since when it is paused.
    pub paused_at: Option<i64>,
    /// Its limit of steps at the same time.
    pub concurrency: Option<i32>,
    /// Its limit of steps within `rate_period`.
    pub rate: Option<i32>,
    /// Microseconds.
    pub rate_period: Option<i64>,
    /// What the steps that are not in progress wait for; none when there are none.
    pub waits_for: Option<String>,
    /// Where it is: URL of the database without credentials.
    #[sqlx(skip)]
    pub database: String,
}

impl QueueStatus {
    /// Most steps of a kind that are counted: if it is that many there may be more.
    pub const MOST: i64 = 10_000;
}

/// Outcome of one `remove_finished_tasks`.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct Removed {
    /// Tasks that were looked at.
    pub looked_at: i32,
    /// Tasks that were removed.
    pub removed: i32,
    /// The last of those that were looked at: where the next call goes on.
    pub last_id: Option<Uuid>,
}

impl Store {
    /// Pauses a namespace. Returns whether it was not paused already.
    ///
    /// # Errors
    /// [`Error::UnknownNamespace`](crate::Error::UnknownNamespace).
    pub async fn pause_namespace(&self, namespace: &str, reason: Option<&str>, actor: Option<&str>) -> Result<bool> {
        let call = sqlx::query_scalar("select stepwell.pause_namespace($1, $2, $3)");
        call.bind(namespace).bind(reason).bind(actor).fetch_one(self).await.or_fail(self)
    }

    /// Lets a paused namespace go on. Returns whether it was paused.
    ///
    /// # Errors
    /// [`Error::UnknownNamespace`](crate::Error::UnknownNamespace).
    pub async fn resume_namespace(&self, namespace: &str, reason: Option<&str>, actor: Option<&str>) -> Result<bool> {
        let call = sqlx::query_scalar("select stepwell.resume_namespace($1, $2, $3)");
        call.bind(namespace).bind(reason).bind(actor).fetch_one(self).await.or_fail(self)
    }

    /// Names of the namespaces that are paused.
    pub async fn paused_namespaces(&self) -> Result<Vec<String>> {
        let query = "select namespace from stepwell.namespaces where paused_at is not null order by namespace";
        sqlx::query_scalar(query).fetch_all(self).await.or_fail(self)
    }

    /// Limits a namespace; what was limited before and is not any more is free.
    ///
    /// # Errors
    /// [`Error::UnknownNamespace`](crate::Error::UnknownNamespace).
    pub async fn limit_namespace(
        &self,
        namespace: &str,
        limits: Limits,
        reason: Option<&str>,
        actor: Option<&str>,
    ) -> Result<()> {
        let whole = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        sqlx::query("select stepwell.limit_namespace($1, $2, $3, $4, $5, $6)")
            .bind(namespace)
            .bind(limits.concurrency.map(whole))
            .bind(limits.rate.map(|(steps, _)| whole(steps)))
            .bind(limits.rate.map(|(_, period)| interval(period)))
            .bind(reason)
            .bind(actor)
            .execute(self)
            .await
            .or_fail(self)
            .map(drop)
    }

    /// How each namespace is, by name.
    pub async fn queue_status(&self) -> Result<Vec<QueueStatus>> {
        let mut queues: Vec<QueueStatus> = sqlx::query_as(
            "select namespace, queued, (extract(epoch from oldest_at) * 1e6)::bigint as oldest_at, ready, keyed, in_progress,
                    (extract(epoch from paused_at) * 1e6)::bigint as paused_at, concurrency, rate,
                    (extract(epoch from rate_period) * 1e6)::bigint as rate_period, waits_for
               from stepwell.queue_status() order by namespace",
        )
        .fetch_all(self)
        .await
        .or_fail(self)?;
        queues.iter_mut().for_each(|queue| self.masked_url().clone_into(&mut queue.database));
        Ok(queues)
    }

    /// Up to `limit` dead letters, of one queue or of all, the newest first, those before the one with the number
    /// `before`.
    pub async fn dead_letters(&self, queue: Option<&str>, limit: u32, before: Option<i64>) -> Result<Vec<DeadLetter>> {
        self.letters(queue, limit, before, None).await
    }

    /// The same in the order of time, in which those of several databases are one list: those that were buried before
    /// the moment `buried_at`, or at it and have a smaller number.
    pub(crate) async fn dead_letters_by_time(
        &self,
        queue: Option<&str>,
        limit: u32,
        (buried_at, number): (i64, i64),
    ) -> Result<Vec<DeadLetter>> {
        self.letters(queue, limit, Some(number), Some(buried_at)).await
    }

    async fn letters(
        &self,
        queue: Option<&str>,
        limit: u32,
        before: Option<i64>,
        buried_at: Option<i64>,
    ) -> Result<Vec<DeadLetter>> {
        // By number it is the primary key's order, so that a page of a long list is read and no more.
        let (before_it, order) = match buried_at {
            None => ("($3::bigint is null or dead_letter_id < $3) and $4::bigint is null", "dead_letter_id desc"),
            Some(_) => (
                "((extract(epoch from buried_at) * 1e6)::bigint, dead_letter_id) < ($4::bigint, $3::bigint)",
                "buried_at desc, dead_letter_id desc",
            ),
        };
        let mut letters: Vec<DeadLetter> = sqlx::query_as(&format!(
            "select dead_letter_id, queue, coalesce(message, 'null')::text as message, reason,
                    (extract(epoch from enqueued_at) * 1e6)::bigint as enqueued_at,
                    (extract(epoch from buried_at) * 1e6)::bigint as buried_at
               from stepwell.dead_letters
              where ($1::text is null or queue = $1) and {before_it}
              order by {order} limit $2",
        ))
        .bind(queue)
        .bind(i64::from(limit))
        .bind(before)
        .bind(buried_at)
        .fetch_all(self)
        .await
        .or_fail(self)?;
        for letter in &mut letters {
            self.masked_url().clone_into(&mut letter.database);
            letter.reason = mask_text(&letter.reason).into_owned(); // may quote the message
        }
        Ok(letters)
    }

    /// Which of these dead letters there are.
    pub(crate) async fn dead_letters_among(&self, ids: &[i64]) -> Result<Vec<i64>> {
        sqlx::query_scalar("select dead_letter_id from stepwell.dead_letters where dead_letter_id = any ($1)")
            .bind(ids)
            .fetch_all(self)
            .await
            .or_fail(self)
    }

    /// Puts dead letters back into their queues. Returns the numbers of those that were there.
    pub async fn replay_dead_letters(
        &self,
        ids: &[i64],
        reason: Option<&str>,
        actor: Option<&str>,
    ) -> Result<Vec<i64>> {
        let call = sqlx::query_scalar("select stepwell.replay_dead_letters($1, $2, $3)");
        call.bind(ids).bind(reason).bind(actor).fetch_one(self).await.or_fail(self)
    }

    /// Looks at up to `batch` tasks after the id `after` and removes those that finished, or failed, long enough ago
    /// (none: never).
    pub async fn remove_finished_tasks(
        &self,
        after: Option<Uuid>,
        batch: u32,
        finished: Option<Duration>,
        failed: Option<Duration>,
    ) -> Result<Removed> {
        sqlx::query_as("select * from stepwell.remove_finished_tasks($1, $2, $3, $4)")
            .bind(after)
            .bind(i32::try_from(batch).unwrap_or(i32::MAX))
            .bind(finished.map(interval))
            .bind(failed.map(interval))
            .fetch_one(self)
            .await
            .or_fail(self)
    }

    /// Removes up to `batch` events that are older than `age` and belong to no task. Returns how many.
    pub async fn remove_events(&self, batch: u32, age: Duration) -> Result<i32> {
        sqlx::query_scalar("select stepwell.remove_events($1, $2)")
            .bind(i32::try_from(batch).unwrap_or(i32::MAX))
            .bind(interval(age))
            .fetch_one(self)
            .await
            .or_fail(self)
    }

    /// Removes up to `batch` dead letters that are older than `age`. Returns how many.
    pub async fn remove_dead_letters(&self, batch: u32, age: Duration) -> Result<i32> {
        sqlx::query_scalar("select stepwell.remove_dead_letters($1, $2)")
            .bind(i32::try_from(batch).unwrap_or(i32::MAX))
            .bind(interval(age))
            .fetch_one(self)
            .await
            .or_fail(self)
    }
}
