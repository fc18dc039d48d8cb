//! Whether the loops of a process turn. Each notes when it has done a turn, also one that found nothing to do, and when
//! one succeeded. Nothing else counts: a flag that says that a loop runs says nothing of one that hangs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config;
use crate::databases::Databases;
use crate::signals::lock;

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The loops over one link to a database.
#[derive(Debug, Default)]
pub(crate) struct Loops(Mutex<Vec<Arc<Turns>>>);

#[derive(Debug)]
struct Turns {
    name: &'static str,
    /// How long the loop rests at most between two turns.
    interval: Duration,
    since: Instant,
    /// Milliseconds from `since`.
    turned: AtomicU64,
    succeeded: AtomicU64,
    ended: AtomicBool,
}

/// A loop's own end: it says here that it turns. Dropped, the loop is over; one that panics stays, and is late.
#[derive(Debug)]
pub(crate) struct Pulse(Arc<Turns>);

impl Loops {
    /// A loop begins that rests `interval` at most.
    pub(crate) fn begin(&self, name: &'static str, interval: Duration) -> Pulse {
        let turns = Arc::new(Turns {
            name,
            interval,
            since: Instant::now(),
            turned: AtomicU64::default(),
            succeeded: AtomicU64::default(),
            ended: AtomicBool::default(),
        });
        let mut loops = lock(&self.0);
        loops.retain(|turns| !turns.ended.load(Relaxed));
        loops.push(turns.clone());
        Pulse(turns)
    }

    /// How each is. Of several of one name, such as the workers', the one that is longest without success.
    pub(crate) fn health(&self, settings: &config::Metrics) -> Vec<LoopHealth> {
        let mut loops: Vec<LoopHealth> = Vec::new();
        for turns in lock(&self.0).iter().filter(|turns| !turns.ended.load(Relaxed)) {
            let health = turns.health(settings);
            match loops.iter_mut().find(|known| known.name == health.name) {
                Some(known) if known.since_success < health.since_success => *known = health,
                Some(_) => {}
                None => loops.push(health),
            }
        }
        loops
    }
}

impl Pulse {
    /// A turn is done, and it worked.
    pub(crate) fn succeeded(&self) {
        let now = self.0.now();
        self.0.succeeded.store(now, Relaxed);
        self.0.turned.store(now, Relaxed);
    }

    /// A turn is done.
    pub(crate) fn turned(&self) {
        self.0.turned.store(self.0.now(), Relaxed);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.ended.store(!std::thread::panicking(), Relaxed);
    }
}

impl Turns {
    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn health(&self, settings: &config::Metrics) -> LoopHealth {
        let now = self.now();
        let age = |at: &AtomicU64| Duration::from_millis(now.saturating_sub(at.load(Relaxed)));
        let (turn, success) = (age(&self.turned), age(&self.succeeded));
        LoopHealth {
            name: self.name,
            since_turn: turn.as_secs_f64(),
            since_success: success.as_secs_f64(),
            late: success > settings.late_after + self.interval,
            hung: turn > settings.hung_after + self.interval,
        }
    }
}

/// How a loop is.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LoopHealth {
    /// Which.
    #[serde(rename = "loop")]
    pub name: &'static str,
    /// Seconds since it has done a turn.
    pub since_turn: f64,
    /// Seconds since a turn of it succeeded.
    pub since_success: f64,
    /// Whether that was too long ago: the process is not ready.
    pub late: bool,
    /// Whether it has not turned at all for too long: only a restart helps.
    pub hung: bool,
}

/// How the part of a process is that works on one database.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct DatabaseHealth {
    /// The URL without credentials.
    pub database: String,
    /// Whether the database answers; none when it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,
    /// Its loops.
    pub loops: Vec<LoopHealth>,
}

/// How a process is.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// `ok`, `late` or `hung`; `unreachable` when a database does not answer.
    pub status: &'static str,
    /// The loops that are late or hung, and databases that do not answer.
    pub trouble: Vec<String>,
    /// Each database, the default first.
    pub databases: Vec<DatabaseHealth>,
}

impl Health {
    /// Whether there is nothing to complain of.
    pub fn is_ok(&self) -> bool {
        self.trouble.is_empty()
    }
}

/// Whether the process lives: no loop hangs. A database that is away is no reason to restart it.
pub fn live(databases: &Databases) -> Health {
    let looked: Vec<DatabaseHealth> = databases.made().into_iter().map(|it| it.health(None)).collect();
    let trouble = loops_that(&looked, "hangs", |it| it.hung);
    Health { status: if trouble.is_empty() { "ok" } else { "hung" }, trouble, databases: looked }
}

/// Whether the process does its work: the databases answer, and every loop has succeeded lately.
pub async fn ready(databases: &Databases) -> Health {
    let pings = databases.made().into_iter().map(async |it| {
        let answer = tokio::time::timeout(PATIENCE, it.store().ping()).await;
        it.health(Some(matches!(answer, Ok(Ok(())))))
    });
    let looked = futures_util::future::join_all(pings).await;
    let late = loops_that(&looked, "is late", |it| it.late);
    let away = looked.iter().filter(|it| it.reachable == Some(false));
    let mut trouble: Vec<String> = away.map(|it| format!("{} does not answer", it.database)).collect();
    let status = match (trouble.is_empty(), late.is_empty()) {
        (true, true) => "ok",
        (true, false) => "late",
        (false, _) => "unreachable",
    };
    trouble.extend(late);
    Health { status, trouble, databases: looked }
}

fn loops_that(databases: &[DatabaseHealth], what: &str, is: impl Fn(&LoopHealth) -> bool) -> Vec<String> {
    let loops = databases.iter().flat_map(|it| &it.loops).filter(|it| is(it));
    loops
        .map(|it| format!("the loop {} {what}: {:.1} s since its last turn that succeeded", it.name, it.since_success))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> config::Metrics {
        config::Metrics { listen: None, late_after: Duration::from_millis(200), hung_after: Duration::from_millis(400) }
    }

    /// As if the loop had begun so long ago.
    fn aged(pulse: Pulse, by: Duration) -> Arc<Turns> {
        let Turns { name, interval, since, .. } = &*pulse.0;
        Arc::new(Turns {
            name,
            interval: *interval,
            since: since.checked_sub(by).unwrap(),
            turned: AtomicU64::default(),
            succeeded: AtomicU64::default(),
            ended: AtomicBool::default(),
        })
    }

    #[test]
    fn a_loop_that_fails_is_late_and_one_that_does_not_turn_hangs() {
        let turns = aged(Loops::default().begin("results", Duration::from_millis(100)), Duration::from_millis(450));
        let pulse = Pulse(turns);
        let health = |pulse: &Pulse| pulse.0.health(&settings());
        assert!(health(&pulse).late && !health(&pulse).hung, "not yet: it may rest 100 ms");
        let pulse = Pulse(aged(pulse, Duration::from_millis(100)));
        assert!(health(&pulse).hung);
        pulse.turned();
        assert!(health(&pulse).late && !health(&pulse).hung);
        pulse.succeeded();
        assert!(!health(&pulse).late && !health(&pulse).hung);
    }

    #[test]
    fn a_loop_that_ends_is_gone_and_one_that_panics_stays() {
        let loops = Arc::new(Loops::default());
        drop(loops.begin("ended", Duration::ZERO));
        let of_thread = loops.clone();
        let panicked = std::thread::spawn(move || {
            let _pulse = of_thread.begin("panicked", Duration::ZERO);
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(panicked.join().is_err());
        let names: Vec<_> = loops.health(&settings()).iter().map(|it| it.name).collect();
        assert_eq!(names, ["panicked"]);
    }
}
