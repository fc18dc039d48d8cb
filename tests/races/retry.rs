//! Retrying a task while somebody else does something to it.

use anyhow::{ensure, Result};
use serde_json::json;
use uuid::Uuid;

use crate::race::{Race, Side, LANES};
use crate::support::session::Answer;
use crate::support::{chain, complete, define, drain, failed, Session};

/// Fresh tasks in error, one for each lane.
async fn failed_tasks(session: &mut Session) -> Result<Vec<Uuid>> {
    let request = r#"{"workflow": "test/chain", "context": {}}"#;
    let tasks = session.submit(&[request; LANES]).await?;
    ensure!(drain(session, |step| failed(step, "permanent", "")).await?.len() == LANES);
    Ok(tasks.iter().map(|task| task.task_id).collect())
}

/// Whether there was something to retry.
async fn retry(session: &mut Session, task: &Uuid) -> Answer<bool> {
    match session.retry(*task).await {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("SW005") => Ok(false),
        answer => answer.map(|_| true),
    }
}

async fn events(session: &mut Session, task: Uuid) -> Answer<String> {
    let sql = "select string_agg(kind, ' ' order by event_id) from stepwell.task_events where task_id = $1";
    session.of_task(sql, task).await
}

#[tokio::test]
async fn retry_against_retry() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&chain(1)).await?;
    for _wave in 0..Race::waves() {
        let tasks = failed_tasks(&mut race.session).await?;
        for (task, outcome) in tasks.iter().zip(race.run(&tasks, retry, retry).await?) {
            race.won(match outcome {
                (true, false) => Side::Left,
                (false, true) => Side::Right,
                both => anyhow::bail!("{both:?}: one of two retries counts"),
            });
            assert_eq!(race.session.steps(*task).await?, "a enqueued 2");
            assert_eq!(events(&mut race.session, *task).await?, "retry");
        }
        assert_eq!(drain(&mut race.session, |step| complete(step, "1")).await?, ["a 2"; LANES]);
    }
    race.finish("one retry", "the other retry").await
}

#[tokio::test]
async fn retry_against_cancel() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&chain(1)).await?;
    for _wave in 0..Race::waves() {
        let tasks = failed_tasks(&mut race.session).await?;
        let outcomes = race.run(&tasks, retry, async |s, task| s.cancel(*task).await).await?;
        for (task, (retried, answer)) in tasks.iter().zip(outcomes) {
            assert_eq!((answer.as_str(), race.session.task_state(*task).await?.as_str()), ("cancelled", "cancelled"));
            let (events, steps) = (events(&mut race.session, *task).await?, race.session.steps(*task).await?);
            let expected = if retried { ("retry cancel", "a cancelled 2") } else { ("cancel", "a cancelled") };
            assert_eq!((events.as_str(), steps.as_str()), expected);
            race.won(if retried { Side::Left } else { Side::Right });
        }
        assert!(drain(&mut race.session, |step| complete(step, "1")).await?.is_empty());
    }
    race.finish("retry", "cancel").await
}

/// One of two branches has failed, and the other's last result comes while somebody retries the task: after the result
/// it is in error for a moment, before it is not.
#[tokio::test]
async fn retry_against_the_last_result_of_the_other_branch() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&define("both", json!([{ "name": "a" }, { "name": "b" }]))).await?;
    for _wave in 0..Race::waves() {
        let tasks = race.session.submit(&[r#"{"workflow": "test/both", "context": {}}"#; LANES]).await?;
        let tasks: Vec<Uuid> = tasks.iter().map(|task| task.task_id).collect();
        race.session.initialize(100).await?;
        let (of_a, of_b): (Vec<_>, Vec<_>) = race.session.claim(100).await?.into_iter().partition(|s| s.name == "a");
        race.session.report(&of_a.iter().map(|step| failed(step, "permanent", "")).collect::<Vec<_>>()).await?;
        assert_eq!(race.session.apply(100).await?.failed, LANES as i32);
        race.session.report_each(&of_b.iter().map(|step| complete(step, "1")).collect::<Vec<_>>()).await?;

        let outcomes = race.run(&tasks, retry, async |s, _| s.apply(1).await).await?;
        let finished: Vec<Uuid> = outcomes.iter().flat_map(|(_, applied)| applied.finished.clone()).collect();
        for (task, (retried, _)) in tasks.iter().zip(&outcomes) {
            assert!(retried);
            assert_eq!(race.session.task_state(*task).await?, "in_progress");
            assert_eq!(race.session.steps(*task).await?, "a enqueued 2, b complete");
            race.won(if finished.contains(task) { Side::Right } else { Side::Left });
        }
        assert_eq!(drain(&mut race.session, |step| complete(step, "1")).await?, ["a 2"; LANES]);
        for task in tasks {
            assert_eq!(race.session.task_state(task).await?, "complete");
        }
    }
    race.finish("retry", "the result").await
}
