//! A claim that has expired, and a worker that is still there.

use anyhow::{ensure, Result};
use stepwell::store::ClaimedStep;

use crate::race::{Race, Side, LANES};
use crate::support::session::WORKER;
use crate::support::{chain, complete, drain, Session, TestDatabase};

/// Fresh tasks whose one step is claimed, each by a claim of its own that has expired.
async fn expired(session: &mut Session) -> Result<Vec<ClaimedStep>> {
    session.submit(&[r#"{"workflow": "test/chain", "context": {}}"#; LANES]).await?;
    session.initialize(100).await?;
    let mut claimed = Vec::new();
    for _ in 0..LANES {
        claimed.extend(session.claim_as(WORKER, 1, "0 s").await?);
    }
    ensure!(claimed.len() == LANES);
    Ok(claimed)
}

/// How many steps of a wave were recovered.
fn recovered<T>(outcomes: &[(T, stepwell::store::Recovered)]) -> usize {
    outcomes.iter().map(|(_, recovered)| recovered.recovered as usize).sum()
}

/// The worker's result is accepted, or the attempt is lost and the next one is there.
#[tokio::test]
async fn report_against_recover() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&chain(1)).await?;
    for _wave in 0..Race::waves() {
        let steps = expired(&mut race.session).await?;
        let report = async |s: &mut Session, step: &ClaimedStep| s.report(&[complete(step, "1")]).await;
        let outcomes = race.run(&steps, report, async |s, _| s.recover(1).await).await?;
        assert_eq!(outcomes.iter().filter(|(refused, _)| !refused.is_empty()).count(), recovered(&outcomes));
        race.session.apply(100).await?;
        for (step, (refused, _)) in steps.iter().zip(&outcomes) {
            let lost = !refused.is_empty();
            let expected = if lost { "a enqueued 2" } else { "a complete" };
            assert_eq!(race.session.steps(step.task_id).await?, expected);
            race.won(if lost { Side::Right } else { Side::Left });
        }
        assert_eq!(drain(&mut race.session, |step| complete(step, "2")).await?.len(), recovered(&outcomes));
        for step in steps {
            assert_eq!(race.session.task_state(step.task_id).await?, "complete");
        }
    }
    race.finish("report", "recover").await
}

/// The claim is extended and still there, or it is gone and the worker hears so.
#[tokio::test]
async fn heartbeat_against_recover() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&chain(1)).await?;
    for _wave in 0..Race::waves() {
        let steps = expired(&mut race.session).await?;
        let heartbeat = async |s: &mut Session, step: &ClaimedStep| s.heartbeat(WORKER, &[step.claim_id], "60 s").await;
        let outcomes = race.run(&steps, heartbeat, async |s, _| s.recover(1).await).await?;
        for (step, (alive, _)) in steps.iter().zip(&outcomes) {
            let kept = match alive.as_slice() {
                [] => false,
                [claim] if *claim == step.claim_id => true,
                others => anyhow::bail!("{others:?} live"),
            };
            let refused = race.session.report(&[complete(step, "1")]).await?;
            assert_eq!(refused.is_empty(), kept, "what the heartbeat says is true");
            race.won(if kept { Side::Left } else { Side::Right });
        }
        let lost = drain(&mut race.session, |step| complete(step, "2")).await?;
        assert_eq!(lost, vec!["a 2"; recovered(&outcomes)]);
        assert_eq!(race.session.count("claims").await?, 0);
    }
    race.finish("heartbeat", "recover").await
}

/// The step is given back with its attempt, or recovered with the next; it never stands in the queue twice.
#[tokio::test]
async fn release_against_recover() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&chain(1)).await?;
    for _wave in 0..Race::waves() {
        let steps = expired(&mut race.session).await?;
        let release =
            async |s: &mut Session, step: &ClaimedStep| s.release_as(WORKER, std::slice::from_ref(step)).await;
        let outcomes = race.run(&steps, release, async |s, _| s.recover(1).await).await?;
        assert_eq!(race.session.queued("test_queue").await?, LANES as i64);
        for (step, (released, _)) in steps.iter().zip(&outcomes) {
            let expected = if *released == 1 { "a enqueued" } else { "a enqueued 2" };
            assert_eq!(race.session.steps(step.task_id).await?, expected);
            race.won(if *released == 1 { Side::Left } else { Side::Right });
        }
        assert_eq!(drain(&mut race.session, |step| complete(step, "1")).await?.len(), LANES);
    }
    race.finish("release", "recover").await
}

/// No race, but how one ends: the worker that gives the step up comes after the recovery, and the next attempt is not its
/// to judge. A step is only given up when nobody had its handler for long enough.
#[tokio::test]
async fn a_step_given_up_after_the_recovery_keeps_its_patience() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.set_clock("2030-01-01 00:00:00+00").await?;
    let task = session.start(&chain(1)).await?;
    let late = session.claim_one().await?;
    session.advance_clock("61 s").await?;
    assert_eq!(session.recover(10).await?.recovered, 1);
    session.release_unhandled(&[late], "10 min").await?;
    let impatient: bool =
        session.of_task("select unhandled_since is not null from stepwell.steps where task_id = $1", task).await?;
    assert!(!impatient, "a lost lease started the time in which a handler for attempt 2 must be found");
    drop(session);
    db.finish().await
}
