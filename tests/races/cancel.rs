//! Cancelling a task while somebody moves it.

use anyhow::{ensure, Result};
use serde_json::json;
use uuid::Uuid;

use crate::race::{Race, Side, LANES};
use crate::support::session::Answer;
use crate::support::{chain, complete, define_with, drain, failed, Session};

/// Fresh tasks of a workflow, one for each lane.
async fn submit(session: &mut Session, workflow: &str) -> Result<Vec<Uuid>> {
    let request = format!(r#"{{"workflow": "{workflow}", "context": {{}}}}"#);
    Ok(session.submit(&[request.as_str(); LANES]).await?.iter().map(|task| task.task_id).collect())
}

/// The same, with their one step reported: `failed` or complete.
async fn reported(session: &mut Session, failed_as: Option<&str>) -> Result<Vec<Uuid>> {
    let tasks = submit(session, "test/chain").await?;
    session.initialize(100).await?;
    let steps = session.claim(100).await?;
    let results: Vec<String> = steps
        .iter()
        .map(|step| failed_as.map_or_else(|| complete(step, "1"), |kind| failed(step, kind, r#""retry_after": 0"#)))
        .collect();
    ensure!(results.len() == LANES);
    session.report_each(&results).await?;
    Ok(tasks)
}

/// The task is cancelled, its step too, and that once.
async fn assert_cancelled(session: &mut Session, task: Uuid) -> Result<()> {
    let (state, steps): (String, String) = (session.task_state(task).await?, session.steps(task).await?);
    ensure!(state == "cancelled" && steps.starts_with("a cancelled"), "{state}: {steps}");
    let events: i64 = session.of_task("select count(*) from stepwell.task_events where task_id = $1", task).await?;
    ensure!(events == 1, "{events} events");
    Ok(())
}

#[tokio::test]
async fn cancel_against_the_last_result() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&chain(1)).await?;
    for _wave in 0..Race::waves() {
        let tasks = reported(&mut race.session, None).await?;
        let outcomes = race.run(&tasks, async |s, task| s.cancel(*task).await, async |s, _| s.apply(1).await).await?;
        let mut finished: Vec<Uuid> = outcomes.iter().flat_map(|(_, applied)| applied.finished.clone()).collect();
        for (task, (answer, _)) in tasks.iter().zip(&outcomes) {
            if answer == "cancelled" {
                race.won(Side::Left);
                assert_cancelled(&mut race.session, *task).await?;
            } else {
                race.won(Side::Right);
                assert_eq!(answer, "complete");
                assert_eq!(race.session.task_state(*task).await?, "complete");
                assert_eq!(race.session.steps(*task).await?, "a complete");
                let place = finished.iter().position(|known| known == task).expect("whoever completed it says so");
                finished.swap_remove(place);
            }
        }
        assert!(finished.is_empty(), "{finished:?} finished, and were cancelled");
        let sum = |of: fn(&stepwell::store::Applied) -> i32| outcomes.iter().map(|(_, it)| of(it)).sum::<i32>();
        assert_eq!(sum(|it| it.completed) + sum(|it| it.stale), LANES as i32);
    }
    assert_eq!(
        race.session.count("task_events").await? + completed(&mut race.session).await?,
        total(&mut race.session).await?
    );
    race.finish("cancel", "complete").await
}

async fn completed(session: &mut Session) -> Result<i64> {
    Ok(session.value("select count(*) from stepwell.tasks where state = 'complete'").await?)
}

async fn total(session: &mut Session) -> Result<i64> {
    Ok(session.count("tasks").await?)
}

/// A task in error can still be cancelled, so it ends cancelled whoever comes first; the failure is kept when it did.
#[tokio::test]
async fn cancel_against_the_last_failure() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&chain(1)).await?;
    for _wave in 0..Race::waves() {
        let tasks = reported(&mut race.session, Some("permanent")).await?;
        let outcomes = race.run(&tasks, async |s, task| s.cancel(*task).await, async |s, _| s.apply(1).await).await?;
        let finished: Vec<Uuid> = outcomes.iter().flat_map(|(_, applied)| applied.finished.clone()).collect();
        for (task, (answer, _)) in tasks.iter().zip(&outcomes) {
            assert_eq!(answer, "cancelled");
            assert_cancelled(&mut race.session, *task).await?;
            let failures: i64 =
                race.session.of_task("select count(*) from stepwell.step_attempts where task_id = $1", *task).await?;
            assert_eq!(finished.iter().filter(|known| *known == task).count(), failures as usize);
            race.won(if failures == 0 { Side::Left } else { Side::Right });
        }
    }
    race.finish("cancel", "fail").await
}

#[tokio::test]
async fn cancel_against_claim() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&chain(1)).await?;
    for _wave in 0..Race::waves() {
        let tasks = submit(&mut race.session, "test/chain").await?;
        race.session.initialize(100).await?;
        let outcomes = race.run(&tasks, async |s, task| s.cancel(*task).await, async |s, _| s.claim(1).await).await?;
        let claimed: Vec<_> = outcomes.iter().flat_map(|(_, steps)| steps).collect();
        for (task, (answer, _)) in tasks.iter().zip(&outcomes) {
            assert_eq!(answer, "cancelled");
            assert_cancelled(&mut race.session, *task).await?;
            let times = claimed.iter().filter(|step| step.task_id == *task).count();
            assert!(times <= 1, "claimed {times} times");
            race.won(if times == 0 { Side::Left } else { Side::Right });
        }
        // What the handlers of claimed steps still report is taken, and changes nothing.
        let results: Vec<String> = claimed.iter().map(|step| complete(step, "1")).collect();
        assert_eq!(race.session.report(&results).await?, [0; 0]);
        assert_eq!(race.session.apply(100).await?.stale, results.len() as i32);
        assert_eq!(race.session.queued("test_queue").await? + race.session.count("claims").await?, 0);
    }
    race.finish("cancel", "claim").await
}

#[tokio::test]
async fn cancel_against_a_due_retry() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&chain(1)).await?;
    for _wave in 0..Race::waves() {
        let tasks = reported(&mut race.session, Some("retryable")).await?;
        assert_eq!(race.session.apply(100).await?.retried, LANES as i32);
        race.run(&tasks, async |s, task| s.cancel(*task).await, async |s, _| s.wake_due(1).await).await?;
        for task in &tasks {
            assert_cancelled(&mut race.session, *task).await?;
            let woken = race.session.steps(*task).await? == "a cancelled 2";
            race.won(if woken { Side::Right } else { Side::Left });
        }
        assert!(drain(&mut race.session, |step| complete(step, "1")).await?.is_empty());
        assert_eq!(race.session.count("step_timers").await?, 0);
    }
    race.finish("cancel", "wake").await
}

#[tokio::test]
async fn cancel_against_initialize() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&chain(2)).await?;
    for _wave in 0..Race::waves() {
        let tasks = submit(&mut race.session, "test/chain").await?;
        let outcomes =
            race.run(&tasks, async |s, task| s.cancel(*task).await, async |s, _| s.initialize(1).await).await?;
        for (task, (answer, initialized)) in tasks.iter().zip(&outcomes) {
            assert_eq!(answer, "cancelled");
            assert_cancelled(&mut race.session, *task).await?;
            assert_eq!(initialized.popped, initialized.initialized);
            // Whoever found no request came after the cancels that had taken theirs.
            race.won(if initialized.popped == 0 { Side::Left } else { Side::Right });
        }
        assert!(drain(&mut race.session, |step| complete(step, "1")).await?.is_empty());
    }
    race.finish("cancel", "initialize").await
}

/// A task that came by plain SQL is cancelled while an orchestrator checks its context.
#[tokio::test]
async fn cancel_against_admit() -> Result<()> {
    let mut race = Race::new().await?;
    let schema = json!({ "input_schema": { "type": "object" } });
    race.session.register(&define_with("checked", json!([{ "name": "a" }]), schema)).await?;
    for _wave in 0..Race::waves() {
        let tasks = submit(&mut race.session, "test/checked").await?;
        assert_eq!(race.session.initialize(100).await?.unvalidated, LANES as i32);
        race.run(
            &tasks,
            async |s, task| s.cancel(*task).await,
            async |s, _| {
                s.run("begin").await?;
                let taken: Vec<Uuid> = s.column("select task_id from stepwell.take_unvalidated_tasks(1)").await?;
                for task in taken {
                    s.run(&format!("select stepwell.admit_tasks(array['{task}'::uuid], array[null::text])")).await?;
                }
                s.run("commit").await
            },
        )
        .await?;
        for task in &tasks {
            assert_cancelled(&mut race.session, *task).await?;
            let attempt: i16 =
                race.session.of_task("select attempt from stepwell.steps where task_id = $1", *task).await?;
            race.won(if attempt == 0 { Side::Left } else { Side::Right });
        }
        assert!(drain(&mut race.session, |step| complete(step, "1")).await?.is_empty());
        admit(&mut race.session, 100).await?;
        assert_eq!(race.session.count("unvalidated_tasks").await?, 0);
    }
    race.finish("cancel", "admit").await
}

/// What an orchestrator does with tasks whose context it finds good, in one transaction.
async fn admit(session: &mut Session, batch: i32) -> Answer<()> {
    session.run("begin").await?;
    let taken = format!("select task_id from stepwell.take_unvalidated_tasks({batch})");
    for task in session.column::<Uuid>(&taken).await? {
        session.run(&format!("select stepwell.admit_tasks(array['{task}'::uuid], array[null::text])")).await?;
    }
    session.run("commit").await.map(drop)
}
