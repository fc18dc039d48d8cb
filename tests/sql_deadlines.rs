//! `fail_overdue_tasks`: a task that is not finished by its deadline ends in error.

#![allow(clippy::unwrap_used, reason = "a step that must be there")]

mod support;

use anyhow::Result;
use serde_json::json;
use support::session::WORKER;
use support::{complete, define_with, failed, Session, TestDatabase};
use uuid::Uuid;

/// A running task with a minute to finish.
async fn started(session: &mut Session, steps: serde_json::Value) -> Result<Uuid> {
    session.start(&define_with("timed", steps, json!({ "timeout": 60 }))).await
}

#[tokio::test]
async fn an_overdue_task_ends_in_error_whatever_its_steps_do() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let steps = json!([
        { "name": "done" }, { "name": "runs" }, { "name": "waits", "backoff": { "base": 300, "cap": 300 } },
        { "name": "queued" }, { "name": "later", "depends_on": ["done", "queued"] }
    ]);
    let task = started(&mut session, steps).await?;
    let claimed = session.claim(4).await?;
    let named = |name: &str| claimed.iter().find(|step| step.name == name).unwrap();
    session.settle(complete(named("done"), "1")).await?;
    session.settle(failed(named("waits"), "retryable", "")).await?;
    assert_eq!(session.release_as(WORKER, &[named("queued").clone()]).await?, 1);
    assert_eq!(session.fail_overdue(10).await?.popped, 0, "there is time left");

    session.advance_clock("61 s").await?;
    let overdue = session.fail_overdue(10).await?;
    assert_eq!((overdue.popped, overdue.failed, overdue.finished), (1, 3, vec![task]));
    assert_eq!(session.steps(task).await?, "done complete, runs error, waits error, queued error, later pending");
    assert_eq!(session.task_state(task).await?, "error");
    let error: String = session.of_task("select error from stepwell.tasks where task_id = $1", task).await?;
    assert!(error.starts_with("the task was not finished by its deadline, 20"), "{error}");
    let attempts: Vec<String> = session
        .column("select position || ' ' || kind || ' ' || error_class from stepwell.step_attempts order by position")
        .await?;
    assert_eq!(
        attempts,
        ["1 timeout Stepwell::DeadlineExceeded", "2 retryable Oops", "3 timeout Stepwell::DeadlineExceeded"]
    );
    let event: String =
        session.of_task("select kind || ' ' || actor from stepwell.task_events where task_id = $1", task).await?;
    assert_eq!(event, "deadline stepwell");

    // The handler that was at it is told, and comes too late.
    assert_eq!(session.report_progress(WORKER, named("runs"), "1").await?.as_deref(), Some("ended"));
    assert_eq!(session.settle(complete(named("runs"), "2")).await?.stale, 1);
    assert!(session.claim(10).await?.is_empty(), "what stands in the queue is of no use any more");
    assert_eq!(session.count("task_deadlines").await?, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn the_deadline_of_a_task_that_finished_is_dropped_when_its_time_comes() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = started(&mut session, json!([{ "name": "a" }])).await?;
    let step = session.claim_one().await?;
    session.settle(complete(&step, "1")).await?;
    assert_eq!(session.count("task_deadlines").await?, 1);
    session.advance_clock("61 s").await?;
    let overdue = session.fail_overdue(10).await?;
    assert_eq!((overdue.popped, overdue.failed, overdue.finished.len()), (1, 0, 0));
    assert_eq!(session.task_state(task).await?, "complete");
    assert_eq!(session.count("task_deadlines").await?, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_retried_task_gets_its_whole_time_again() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = started(&mut session, json!([{ "name": "a" }, { "name": "b", "depends_on": "a" }])).await?;
    session.advance_clock("61 s").await?;
    session.fail_overdue(10).await?;
    session.retry(task).await?;
    assert_eq!(session.steps(task).await?, "a enqueued 2, b pending");
    let error: Option<String> = session.of_task("select error from stepwell.tasks where task_id = $1", task).await?;
    assert_eq!(error, None);

    let step = session.claim_one().await?;
    session.settle(complete(&step, "1")).await?;
    session.advance_clock("59 s").await?;
    assert_eq!(session.fail_overdue(10).await?.popped, 0);
    session.advance_clock("2 s").await?;
    assert_eq!(session.fail_overdue(10).await?.finished, [task]);
    assert_eq!(session.steps(task).await?, "a complete 2, b error");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_task_that_is_still_unchecked_can_be_overdue_too() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let keys = json!({ "timeout": 60, "input_schema": { "type": "object" } });
    session.register(&define_with("timed", json!([{ "name": "a" }]), keys)).await?;
    let task = session.submit_one("test/timed", "{}").await?;
    assert_eq!(session.initialize(10).await?.unvalidated, 1);
    session.advance_clock("61 s").await?;
    assert_eq!(session.fail_overdue(10).await?.finished, [task]);
    assert_eq!(session.task_state(task).await?, "error");
    assert_eq!(session.count("unvalidated_tasks").await?, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn two_sessions_end_each_overdue_task_once() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&define_with("timed", json!([{ "name": "a" }]), json!({ "timeout": 60 }))).await?;
    for _ in 0..60 {
        session.submit_one("test/timed", "{}").await?;
    }
    session.initialize(100).await?;
    let (mut one, mut two) = (db.session().await?, db.session().await?);
    let all = async |session: &mut Session| {
        session.advance_clock("61 s").await?;
        let mut ended = 0;
        loop {
            let overdue = session.fail_overdue(7).await?;
            ended += overdue.finished.len();
            if overdue.popped == 0 {
                return anyhow::Ok(ended);
            }
        }
    };
    let (of_one, of_two) = tokio::join!(all(&mut one), all(&mut two));
    assert_eq!(of_one? + of_two? + all(&mut one).await?, 60);
    assert_eq!(session.count("task_events").await?, 60);
    drop((session, one, two));
    db.finish().await
}
