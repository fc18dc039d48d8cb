//! How a race is run: in waves, each of several lanes at once, in each lane two sessions and something of its own to race
//! for. A third session looks at the invariants while they race.

use std::future::{poll_fn, Future};
use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use anyhow::{ensure, Context, Result};
use rand::Rng;

use crate::support::session::{sqlstate, Answer};
use crate::support::{effort, eventually, Session, TestDatabase};

/// How many pairs race at once: with two cores, as many as get in each other's way.
pub const LANES: usize = 4;

/// How many races it takes to hold a side back by one empty statement more.
const PACE: i32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// A database with sessions on both sides, and who won so far.
pub struct Race {
    db: TestDatabase,
    /// Prepares and judges.
    pub session: Session,
    watcher: Session,
    left: Vec<Session>,
    right: Vec<Session>,
    /// By how much the left side starts later: the side that won more starts later, so the race stays close.
    handicap: i32,
    won: [usize; 2],
    /// How often one began before the other had its answer, and out of how many.
    met: usize,
    races: usize,
}

impl Race {
    pub async fn new() -> Result<Self> {
        let db = TestDatabase::new().await?;
        let mut race = Self {
            session: db.session().await?,
            watcher: db.session().await?,
            left: db.sessions(LANES).await?,
            right: db.sessions(LANES).await?,
            db,
            handicap: 0,
            won: [0, 0],
            met: 0,
            races: 0,
        };
        for racer in race.left.iter_mut().chain(&mut race.right) {
            racer.run("set deadlock_timeout = '20ms'").await?; // found sooner, not more often
        }
        race.session.work_at_once().await?;
        Ok(race)
    }

    /// How many waves there are: 100 races, or 1,000.
    pub fn waves() -> usize {
        effort::rounds(100, 1_000) as usize / LANES
    }

    /// Races both sides for each of the prizes. An answer is an error only when it should never be one.
    pub async fn run<P, L, R>(
        &mut self,
        prizes: &[P],
        left: impl AsyncFn(&mut Session, &P) -> Answer<L>,
        right: impl AsyncFn(&mut Session, &P) -> Answer<R>,
    ) -> Result<Vec<(L, R)>> {
        ensure!(prizes.len() == LANES, "{} prizes for {LANES} lanes", prizes.len());
        let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
        for (session, prize) in self.left.iter_mut().zip(prizes) {
            of_left.push(late(session, prize, delay(self.handicap), &left));
        }
        for (session, prize) in self.right.iter_mut().zip(prizes) {
            of_right.push(late(session, prize, delay(-self.handicap), &right));
        }
        let watch = async {
            for _ in 0..3 {
                self.watcher.assert_invariants().await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let (of_left, of_right, watched) = tokio::join!(all(of_left), all(of_right), watch);
        watched.context("while they raced")?;
        let mut outcomes = Vec::with_capacity(LANES);
        for (left, right) in of_left.into_iter().zip(of_right) {
            let (left, of_left) = left.context("on the left")?;
            let (right, of_right) = right.context("on the right")?;
            self.met += usize::from(of_left.start < of_right.end && of_right.start < of_left.end);
            self.races += 1;
            outcomes.push((left, right));
        }
        Ok(outcomes)
    }

    /// Counts a race.
    pub fn won(&mut self, side: Side) {
        self.won[side as usize] += 1;
        self.handicap += if side == Side::Left { 1 } else { -1 };
    }

    /// The end of a race: both sides have won, nobody was ever in a deadlock, and what holds at every test's end.
    pub async fn finish(self, left: &str, right: &str) -> Result<()> {
        let [of_left, of_right] = self.won;
        let counts = format!("{left} won {of_left} times, {right} {of_right}; {} of {} met", self.met, self.races);
        println!("{counts}");
        ensure!(of_left > 0 && of_right > 0 && self.met > self.races / 10, "{counts}: that was no race");
        drop((self.session, self.watcher, self.left, self.right));
        let deadlocks = deadlocks(&self.db).await?;
        ensure!(deadlocks == 0, "PostgreSQL counted {deadlocks} deadlocks");
        self.db.finish().await
    }
}

/// What PostgreSQL has counted in this database. A session's share is in it when the session has ended.
pub async fn deadlocks(db: &TestDatabase) -> Result<i64> {
    let mut session = db.session().await?;
    let others = "select count(*) from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'";
    eventually("the racers are gone", async || Ok((session.value::<i64>(others).await? == 0).then_some(()))).await?;
    Ok(session.value("select deadlocks from pg_stat_database where datname = current_database()").await?)
}

/// A little random, and more for the side that is held back.
fn delay(handicap: i32) -> i32 {
    (handicap.max(0) + rand::rng().random_range(0..2 * PACE)) / PACE
}

/// Returns the answer, and from when to when it took.
async fn late<P, T>(
    session: &mut Session,
    prize: &P,
    delay: i32,
    act: &impl AsyncFn(&mut Session, &P) -> Answer<T>,
) -> Result<(T, Range<Instant>)> {
    for _ in 0..delay {
        session.run("select").await?;
    }
    let start = Instant::now();
    let answer = act(session, prize).await.map_err(|error| {
        let what = format!("SQLSTATE {:?}: {error}", error.as_database_error().and_then(|error| error.code()));
        anyhow::Error::new(error).context(what)
    })?;
    Ok((answer, start..Instant::now()))
}

/// Runs futures side by side. Returns their outputs, in order.
pub async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, output) in running.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                if let Poll::Ready(value) = future.as_mut().poll(context) {
                    *output = Some(value);
                }
            }
        }
        if outputs.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// The check for deadlocks would see one.
#[tokio::test]
async fn a_deadlock_is_counted() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut one, mut two) = (db.session().await?, db.session().await?);
    for session in [&mut one, &mut two] {
        session.run("set deadlock_timeout = '20ms'").await?;
        session.run("begin").await?;
    }
    one.run("select pg_advisory_xact_lock(1)").await?;
    two.run("select pg_advisory_xact_lock(2)").await?;
    let (first, second) =
        tokio::join!(one.run("select pg_advisory_xact_lock(2)"), two.run("select pg_advisory_xact_lock(1)"));
    let states = [sqlstate(first), sqlstate(second)];
    assert_eq!(states.iter().flatten().collect::<Vec<_>>(), ["40P01"], "{states:?}");
    drop((one, two));
    assert_eq!(deadlocks(&db).await?, 1);
    db.finish().await
}
