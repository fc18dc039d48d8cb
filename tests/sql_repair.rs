//! What a person does to one task, beyond cancelling and retrying it whole: `resolve_step`, and retrying single steps.

mod support;

use anyhow::Result;
use serde_json::json;
use support::session::sqlstate;
use support::{chain, complete, define, diamond, failed, Session, TestDatabase};
use uuid::Uuid;

/// A chain whose first step has failed for good.
async fn failed_chain(session: &mut Session, length: u8) -> Result<Uuid> {
    let task = session.start(&chain(length)).await?;
    let step = session.claim_one().await?;
    session.settle(failed(&step, "permanent", "")).await?;
    assert_eq!(session.task_state(task).await?, "error");
    Ok(task)
}

async fn events(session: &mut Session) -> Result<Vec<String>> {
    let sql = "select concat_ws(' ', kind, actor, reason, details::text) from stepwell.task_events order by event_id";
    Ok(session.column(sql).await?)
}

#[tokio::test]
async fn a_failed_step_resolved_by_hand_lets_its_dependents_go_on() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = failed_chain(&mut session, 2).await?;

    assert_eq!(session.resolve(task, "a", r#"{"by": "hand", "big": 18446744073709551616}"#).await?, "in_progress");
    assert_eq!(session.steps(task).await?, "a resolved, b enqueued");
    let step = session.claim_one().await?;
    assert_eq!(step.results.as_deref(), Some(r#"{"a": {"by": "hand", "big": 18446744073709551616}}"#));
    session.settle(complete(&step, "2")).await?;
    assert_eq!(session.task_state(task).await?, "complete", "only its last step decides between the two");
    assert_eq!(events(&mut session).await?, [r#"resolve a tester a test {"step": "a"}"#]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_task_is_resolved_when_that_was_its_last_open_step() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = failed_chain(&mut session, 1).await?;
    assert_eq!(session.resolve(task, "a", "null").await?, "resolved");
    assert_eq!(session.steps(task).await?, "a resolved");
    let row: (i32, i32, bool) = session
        .row(
            "select steps_remaining, steps_failed, finished_at is not null from stepwell.tasks where task_id = $1",
            task,
        )
        .await?;
    assert_eq!(row, (0, 0, true));
    assert_eq!(sqlstate(session.resolve(task, "a", "1").await).as_deref(), Some("SW005"), "it is over");
    let finished = session.start(&define("one", json!([{ "name": "a" }]))).await?;
    let step = session.claim_one().await?;
    session.settle(complete(&step, "1")).await?;
    assert_eq!(sqlstate(session.resolve(finished, "a", "1").await).as_deref(), Some("SW005"), "it is complete");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_step_can_be_resolved_while_it_is_executed_queued_or_waits_for_its_retry() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let steps = json!([{ "name": "runs" }, { "name": "waits" }, { "name": "queued" }, { "name": "end", "depends_on": ["runs", "waits", "queued"] }]);
    let task = session.start(&define("mixed", steps)).await?;
    let claimed = session.claim(2).await?;
    session.settle(failed(&claimed[1], "retryable", "")).await?;
    for step in ["runs", "waits", "queued"] {
        assert_eq!(session.resolve(task, step, "7").await?, "in_progress");
    }
    assert_eq!(session.steps(task).await?, "runs resolved, waits resolved, queued resolved, end enqueued");

    assert_eq!(session.settle(complete(&claimed[0], "8")).await?.stale, 1, "the handler's own result is too late");
    session.advance_clock("1 h").await?;
    assert_eq!(session.wake_due(10).await?.woken, 0);
    let end = session.claim_one().await?;
    assert_eq!(end.name, "end", "nobody gets the messages of resolved steps");
    assert_eq!(end.results.as_deref(), Some(r#"{"runs": 7, "waits": 7, "queued": 7}"#));
    session.settle(complete(&end, "1")).await?;
    assert_eq!(session.task_state(task).await?, "complete");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn what_cannot_be_resolved_says_why_and_changes_nothing() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    assert_eq!(sqlstate(session.resolve(Uuid::now_v7(), "a", "1").await).as_deref(), Some("SW004"));
    let task = session.start(&chain(2)).await?;
    for (step, why) in [("b", "is pending"), ("z", "has no step z")] {
        let answer = session.resolve(task, step, "1").await;
        let message = answer.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert!(message.contains(why), "{message}");
        assert_eq!(sqlstate(answer).as_deref(), Some("SW005"));
    }
    session.cancel(task).await?;
    assert_eq!(sqlstate(session.resolve(task, "a", "1").await).as_deref(), Some("SW005"));
    assert_eq!(events(&mut session).await?, ["cancel a tester a test"]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_task_stays_in_error_while_another_step_of_it_has_failed() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&diamond()).await?;
    let start = session.claim_one().await?;
    session.settle(complete(&start, "1")).await?;
    for step in session.claim(2).await? {
        session.settle(failed(&step, "permanent", "")).await?;
    }
    assert_eq!(session.resolve(task, "left", "1").await?, "error");
    assert_eq!(session.steps(task).await?, "start complete, left resolved, right error, end pending");
    session.assert_invariants().await?;
    assert_eq!(session.resolve(task, "right", "1").await?, "in_progress");
    assert_eq!(session.steps(task).await?, "start complete, left resolved, right resolved, end enqueued");
    assert_eq!(session.resolve(task, "end", "1").await?, "resolved");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn single_steps_of_a_failed_task_are_retried() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&define("pair", json!([{ "name": "a" }, { "name": "b" }]))).await?;
    for step in session.claim(2).await? {
        session.settle(failed(&step, "permanent", "")).await?;
    }
    assert_eq!(sqlstate(session.retry_steps(task, &["a", "z"]).await).as_deref(), Some("SW005"));
    assert_eq!(session.steps(task).await?, "a error, b error", "all or nothing");

    session.retry_steps(task, &["a"]).await?;
    assert_eq!(session.steps(task).await?, "a enqueued 2, b error");
    assert_eq!(session.task_state(task).await?, "in_progress");
    let step = session.claim_one().await?;
    session.settle(complete(&step, "1")).await?;
    assert_eq!(session.task_state(task).await?, "error", "the other one has still failed");
    session.retry_steps(task, &["b"]).await?;
    let step = session.claim_one().await?;
    session.settle(complete(&step, "1")).await?;
    assert_eq!(session.task_state(task).await?, "complete");
    assert_eq!(
        events(&mut session).await?,
        [r#"retry a tester a test {"steps": ["a"]}"#, r#"retry a tester a test {"steps": ["b"]}"#]
    );
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn resolving_races_with_the_result_of_the_same_step() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(2)).await?;
    let (mut person, mut orchestrator) = (db.session().await?, db.session().await?);
    let (mut by_hand, mut by_worker) = (0, 0);
    for _ in 0..60 {
        let task = session.submit_one("test/chain", "{}").await?;
        session.initialize(1).await?;
        let step = session.claim_one().await?;
        session.report(&[complete(&step, "1")]).await?;
        let (resolved, applied) = tokio::join!(person.resolve(task, "a", "2"), orchestrator.apply(10));
        let won = applied?.completed == 1;
        match (resolved.is_ok(), won) {
            (true, false) => by_hand += 1,
            (false, true) => by_worker += 1,
            both => panic!("{both:?}"),
        }
        let next = session.claim_one().await?;
        assert_eq!(next.results.as_deref(), Some(if won { r#"{"a": 1}"# } else { r#"{"a": 2}"# }));
        session.settle(complete(&next, "3")).await?;
    }
    assert_eq!(by_hand + by_worker, 60);
    drop((session, person, orchestrator));
    db.finish().await
}
