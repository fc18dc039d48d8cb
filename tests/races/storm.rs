//! Everything against everything: several sessions do whatever a client, a worker or an orchestrator does, at random and
//! in batches, on the same few tasks.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rand::seq::IndexedRandom;
use rand::Rng;
use uuid::Uuid;

use crate::race::{all, deadlocks};
use crate::support::session::{Answer, WORKER};
use crate::support::{complete, diamond, drain, effort, failed, Session, TestDatabase};

const SESSIONS: usize = 6;
/// So many tasks at a time.
const TASKS: usize = 12;

#[tokio::test]
async fn everything_against_everything() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, mut watcher, mut sessions) =
        (db.session().await?, db.session().await?, db.sessions(SESSIONS).await?);
    session.work_at_once().await?;
    session.register(&diamond()).await?;
    let (mut done, mut ends) = (BTreeMap::new(), BTreeMap::<String, usize>::new());
    for _wave in 0..effort::rounds(10, 100) {
        let tasks = session.submit(&[r#"{"workflow": "test/diamond", "context": {}}"#; TASKS]).await?;
        let tasks: Vec<Uuid> = tasks.iter().map(|task| task.task_id).collect();
        let watch = async {
            for _ in 0..10 {
                watcher.assert_invariants().await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let stirred = all(sessions.iter_mut().map(|session| stir(session, &tasks)).collect());
        let (stirred, watched) = tokio::join!(stirred, watch);
        watched.context("while they raced")?;
        for action in stirred.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten() {
            *done.entry(action).or_insert(0) += 1;
        }
        calm(&mut session).await?;
        for task in tasks {
            *ends.entry(session.task_state(task).await?).or_default() += 1;
        }
    }
    println!("{done:?}\n{ends:?}");
    assert_eq!(ends.keys().collect::<Vec<_>>(), ["cancelled", "complete", "error"], "every task has ended");
    drop((session, watcher, sessions));
    assert_eq!(deadlocks(&db).await?, 0);
    db.finish().await
}

/// Acts at random for a while. Returns what did something.
async fn stir(session: &mut Session, tasks: &[Uuid]) -> Result<Vec<&'static str>> {
    let mut done = Vec::new();
    for _ in 0..25 {
        let (choice, batch) = (rand::rng().random_range(0..14), rand::rng().random_range(1..6));
        let task = *tasks.choose(&mut rand::rng()).context("no tasks")?;
        let (action, moved) = match choice {
            0 | 1 => ("initialize", session.initialize(batch).await?.popped > 0),
            2..6 => ("work", work(session, batch).await?),
            6..9 => ("apply", session.apply(batch).await?.popped > 0),
            9 => ("wake", session.wake_due(batch).await?.woken > 0),
            10 | 11 => ("recover", session.recover(batch).await?.popped > 0),
            12 => ("retry", retry(session, task).await?),
            _ if rand::rng().random_ratio(1, 4) => ("cancel", session.cancel(task).await? == "cancelled"),
            _ => continue,
        };
        done.extend(moved.then_some(action));
    }
    Ok(done)
}

/// Claims some steps and reports, releases, gives up or loses them. A lease of nothing is up at once.
async fn work(session: &mut Session, batch: i32) -> Answer<bool> {
    let lease = if rand::rng().random_ratio(1, 3) { "0 s" } else { "60 s" };
    let steps = session.claim_as(WORKER, batch, lease).await?;
    let mut reports = Vec::new();
    for step in &steps {
        match rand::rng().random_range(0..16) {
            0 => drop(session.release_as(WORKER, std::slice::from_ref(step)).await?),
            1 => drop(session.release_unhandled(std::slice::from_ref(step), "0 s").await?),
            2 => reports.push(failed(step, "permanent", "")),
            3..6 => reports.push(failed(step, "retryable", r#""retry_after": 0"#)),
            6 => drop(session.heartbeat(WORKER, &[step.claim_id], "0 s").await?), // and never heard of again
            _ => reports.push(complete(step, "1")),
        }
    }
    session.report(&reports).await?;
    Ok(!steps.is_empty())
}

/// Whether there was something to retry: a task that has not failed is refused, and so is one that is still in the queue.
async fn retry(session: &mut Session, task: Uuid) -> Result<bool> {
    let retried = session.retry(task).await.map(|_| true);
    match retried {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("SW005") => Ok(false),
        answer => Ok(answer?),
    }
}

/// Lets everything run to its end: time passes, claims expire and retries come due.
async fn calm(session: &mut Session) -> Result<()> {
    for hours in 1.. {
        drain(session, |step| complete(step, "1")).await?;
        session.advance_clock(&format!("{hours} h")).await?; // later than what the last round put off
        let (woken, recovered) = (session.wake_due(1_000).await?.popped, session.recover(1_000).await?.popped);
        session.set_clock("").await?;
        if woken == 0 && recovered == 0 && session.count("step_timers").await? == 0 {
            break;
        }
    }
    session.assert_invariants().await
}
