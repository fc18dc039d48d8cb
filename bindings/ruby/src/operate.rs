//! The part of `Stepwell::Native::Client` for operating: pausing and dead letters.

use magnus::{method, Error, Module, RClass, Ruby};

use stepwell::store::Limits;
use stepwell::LetterPosition;

use crate::client::{json, NativeClient};
use crate::duration::from_seconds;
use crate::errors::entry;
use crate::gvl::block_on;

pub(crate) fn init(class: RClass) -> Result<(), Error> {
    class.define_method("pause", method!(pause, 3))?;
    class.define_method("resume", method!(resume, 3))?;
    class.define_method("paused", method!(paused, 0))?;
    class.define_method("limit", method!(limit, 5))?;
    class.define_method("queues", method!(queues, 0))?;
    class.define_method("dead_letters", method!(dead_letters, 3))?;
    class.define_method("replay", method!(replay, 3))?;
    Ok(())
}

fn pause(
    ruby: &Ruby,
    client: &NativeClient,
    namespace: String,
    reason: Option<String>,
    actor: Option<String>,
) -> Result<bool, Error> {
    entry(ruby, || {
        let client = client.0.get(ruby)?.clone();
        block_on(ruby, async move { client.pause(&namespace, reason.as_deref(), actor.as_deref()).await })
    })
}

fn resume(
    ruby: &Ruby,
    client: &NativeClient,
    namespace: String,
    reason: Option<String>,
    actor: Option<String>,
) -> Result<bool, Error> {
    entry(ruby, || {
        let client = client.0.get(ruby)?.clone();
        block_on(ruby, async move { client.resume(&namespace, reason.as_deref(), actor.as_deref()).await })
    })
}

fn paused(ruby: &Ruby, client: &NativeClient) -> Result<Vec<String>, Error> {
    entry(ruby, || {
        let client = client.0.get(ruby)?.clone();
        block_on(ruby, async move { client.paused().await })
    })
}

/// `rate`: steps, and the period in seconds.
fn limit(
    ruby: &Ruby,
    client: &NativeClient,
    namespace: String,
    concurrency: Option<u32>,
    rate: Option<(u32, f64)>,
    reason: Option<String>,
    actor: Option<String>,
) -> Result<(), Error> {
    entry(ruby, || {
        let client = client.0.get(ruby)?.clone();
        let limits = Limits { concurrency, rate: rate.map(|(steps, seconds)| (steps, from_seconds(seconds))) };
        block_on(ruby, async move { client.limit(&namespace, limits, reason.as_deref(), actor.as_deref()).await })
    })
}

/// JSON text of how each namespace is.
fn queues(ruby: &Ruby, client: &NativeClient) -> Result<String, Error> {
    entry(ruby, || {
        let client = client.0.get(ruby)?.clone();
        json(ruby, &block_on(ruby, async move { client.queues().await })?)
    })
}

/// JSON text of the newest dead letters, those after one in the list: its number, and when it was buried and where.
fn dead_letters(
    ruby: &Ruby,
    client: &NativeClient,
    queue: Option<String>,
    limit: u32,
    before: Option<(i64, Option<(i64, String)>)>,
) -> Result<String, Error> {
    entry(ruby, || {
        let client = client.0.get(ruby)?.clone();
        let letters = block_on(ruby, async move {
            let queue = queue.as_deref();
            match before {
                Some((id, Some((buried_at, database)))) => {
                    client.dead_letters_after(queue, limit, &LetterPosition { id, buried_at, database }).await
                }
                number => client.dead_letters(queue, limit, number.map(|(id, _)| id)).await,
            }
        })?;
        json(ruby, &letters)
    })
}

/// `letters`: the number of each, and the database that it is in where that is known.
fn replay(
    ruby: &Ruby,
    client: &NativeClient,
    letters: Vec<(i64, Option<String>)>,
    reason: Option<String>,
    actor: Option<String>,
) -> Result<Vec<i64>, Error> {
    entry(ruby, || {
        let client = client.0.get(ruby)?.clone();
        block_on(ruby, async move { client.replay_letters(&letters, reason.as_deref(), actor.as_deref()).await })
    })
}
