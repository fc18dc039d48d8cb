//! Connections between two calls, the last used one on top: what it has prepared, and what its server process has at hand, is
//! warm. sqlx's pool gives out the coldest, and asks each that comes back for a sign of life.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::Postgres;

use crate::signals::lock;

/// How long one rests here before the pool has it back, which closes what nobody needs.
const REST: Duration = Duration::from_secs(60);
/// After how long one goes back to the pool, which ends those that are too old.
const SHIFT: Duration = Duration::from_secs(600);

/// A connection of the pool, and since when it is not there.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) connection: PoolConnection<Postgres>,
    pub(super) since: Instant,
}

/// The connections that rest.
#[derive(Debug, Default)]
pub(super) struct Idle {
    resting: Mutex<VecDeque<(Lent, Instant)>>,
    /// Calls that wait for the pool, which has none left while they rest here.
    waiting: AtomicUsize,
}

/// Somebody waits for the pool, until this is dropped.
pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Idle {
    /// The one that was used last.
    pub(super) fn take(&self) -> Option<Lent> {
        lock(&self.resting).pop_back().map(|(lent, _)| lent)
    }

    /// From here on [`rest`](Self::rest) leaves connections to the pool: look once more before waiting for that.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, SeqCst);
        Waiting(&self.waiting)
    }

    /// Takes one in. Returns one that the pool shall have.
    pub(super) fn rest(&self, lent: Lent) -> Option<PoolConnection<Postgres>> {
        if lent.since.elapsed() > SHIFT {
            return Some(lent.connection);
        }
        let mut resting = lock(&self.resting);
        resting.push_back((lent, Instant::now()));
        // In this order: whoever began to wait and saw nothing here is counted by now.
        let back = match resting.front() {
            _ if self.waiting.load(SeqCst) > 0 => resting.pop_back(),
            Some((_, since)) if since.elapsed() > REST => resting.pop_front(),
            _ => None,
        };
        back.map(|(lent, _)| lent.connection)
    }

    /// How many rest.
    pub(super) fn count(&self) -> usize {
        lock(&self.resting).len()
    }
}
