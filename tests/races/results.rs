//! Two orchestrators with the last two results of a task.

use anyhow::{ensure, Result};
use serde_json::json;
use stepwell::store::{Applied, ClaimedStep};
use uuid::Uuid;

use crate::race::{Race, Side, LANES};
use crate::support::{complete, define, drain, failed, fan_in, Session};

/// Fresh tasks of a workflow with two roots, both claimed and reported.
async fn reported(session: &mut Session, name: &str, answer: fn(&ClaimedStep) -> String) -> Result<Vec<Uuid>> {
    let request = format!(r#"{{"workflow": "test/{name}", "context": {{}}}}"#);
    let tasks = session.submit(&[request.as_str(); LANES]).await?;
    session.initialize(100).await?;
    let steps = session.claim(100).await?;
    ensure!(steps.len() == 2 * LANES);
    session.report_each(&steps.iter().map(answer).collect::<Vec<_>>()).await?;
    Ok(tasks.iter().map(|task| task.task_id).collect())
}

async fn apply_one(session: &mut Session, _: &Uuid) -> Result<Applied, sqlx::Error> {
    session.apply(1).await
}

/// Counts the last of two: which side's answers fit. Returns how many did.
fn count(race: &mut Race, outcomes: &[(Applied, Applied)], last: fn(&Applied) -> bool) -> usize {
    let mut times = 0;
    for (left, right) in outcomes {
        for (side, applied) in [(Side::Left, left), (Side::Right, right)] {
            if last(applied) {
                race.won(side);
                times += 1;
            }
        }
    }
    times
}

#[tokio::test]
async fn the_last_two_results_before_a_join() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&fan_in(2)).await?;
    for _wave in 0..Race::waves() {
        let tasks = reported(&mut race.session, "fan_in", |step| complete(step, "1")).await?;
        let outcomes = race.run(&tasks, apply_one, apply_one).await?;
        assert_eq!(
            count(&mut race, &outcomes, |applied| !applied.namespaces.is_empty()),
            LANES,
            "one starts each join"
        );
        for task in tasks {
            assert_eq!(race.session.steps(task).await?, "w0 complete, w1 complete, join enqueued");
        }
        assert_eq!(drain(&mut race.session, |step| complete(step, "1")).await?, ["join"; LANES]);
    }
    race.finish("one orchestrator", "the other orchestrator").await
}

/// Neither may think that the step of the other still moves.
#[tokio::test]
async fn the_last_two_results_of_a_task_of_which_one_failed() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&define("two", json!([{ "name": "a" }, { "name": "b" }]))).await?;
    for _wave in 0..Race::waves() {
        let answer = |step: &ClaimedStep| match step.name.as_str() {
            "a" => failed(step, "permanent", ""),
            _ => complete(step, "1"),
        };
        let tasks = reported(&mut race.session, "two", answer).await?;
        let outcomes = race.run(&tasks, apply_one, apply_one).await?;
        assert_eq!(count(&mut race, &outcomes, |applied| !applied.finished.is_empty()), LANES, "one ends each task");
        for task in tasks {
            assert_eq!(race.session.task_state(task).await?, "error");
            assert_eq!(race.session.steps(task).await?, "a error, b complete");
        }
    }
    race.finish("one orchestrator", "the other orchestrator").await
}
