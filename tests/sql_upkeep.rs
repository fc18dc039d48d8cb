//! Upkeep and repair: due retries, expired claims, cancelling, retrying, steps that nobody handles, and the races between
//! them.

mod support;

use anyhow::Result;
use serde_json::json;
use stepwell::store::ClaimedStep;
use support::session::{sqlstate, NO_TASKS, WORKER};
use support::{chain, complete, define, diamond, drain, failed, Session, TestDatabase};
use uuid::Uuid;

const START: &str = "2030-01-01 00:00:00+00";

/// A session whose clock stands still.
async fn stopped_clock(db: &TestDatabase) -> Result<Session> {
    let mut session = db.session().await?;
    session.set_clock(START).await?;
    Ok(session)
}

#[tokio::test]
async fn a_retry_is_woken_at_its_time_and_not_before() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = stopped_clock(&db).await?;
    let task = session.start(&chain(1)).await?;
    let a = session.claim_one().await?;
    session.settle(failed(&a, "retryable", r#""retry_after": 5"#)).await?;
    session.advance_clock("4.999999 s").await?;
    let early = session.wake_due(10).await?;
    assert_eq!((early.popped, early.woken, early.namespaces.len()), (0, 0, 0));
    assert_eq!(session.steps(task).await?, "a waiting_for_retry");
    let reason: String = session.of_task("select waits_for from stepwell.task_status where task_id = $1", task).await?;
    assert!(reason.contains("retry at"), "{reason}");

    session.advance_clock("0.000001 s").await?;
    let due = session.wake_due(10).await?;
    assert_eq!((due.popped, due.woken, due.namespaces), (1, 1, vec!["test".to_owned()]));
    assert_eq!(session.steps(task).await?, "a enqueued 2");
    assert_eq!(session.wake_due(10).await?.popped, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn timers_wake_in_batches_the_oldest_first() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = stopped_clock(&db).await?;
    let wide: Vec<_> = (0..5).map(|index| json!({ "name": format!("s{index}") })).collect();
    let task = session.start(&define("wide", wide.into())).await?;
    for step in session.claim(10).await? {
        session.settle(failed(&step, "retryable", &format!(r#""retry_after": {}"#, 10 - step.position))).await?;
    }
    session.advance_clock("1 h").await?;
    assert_eq!(session.wake_due(2).await?.woken, 2);
    assert!(session.steps(task).await?.ends_with("s3 enqueued 2, s4 enqueued 2"));
    assert_eq!(session.wake_due(10).await?.woken, 3);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_timer_of_a_step_that_no_longer_waits_is_dropped() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = stopped_clock(&db).await?;
    let task = session.start(&chain(1)).await?;
    let a = session.claim_one().await?;
    session.settle(failed(&a, "retryable", "")).await?;
    assert_eq!(session.cancel(task).await?, "cancelled");
    session.advance_clock("1 h").await?;
    let woken = session.wake_due(10).await?;
    assert_eq!((woken.popped, woken.woken), (1, 0));
    assert_eq!(session.count("step_timers").await?, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn two_sessions_wake_each_step_once() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = stopped_clock(&db).await?;
    let wide: Vec<_> = (0..200).map(|index| json!({ "name": format!("s{index}") })).collect();
    session.widen_queues().await?;
    session.start(&define("wide", wide.into())).await?;
    let steps = session.claim(200).await?;
    session.report(&steps.iter().map(|step| failed(step, "retryable", "")).collect::<Vec<_>>()).await?;
    assert_eq!(session.apply(1_000).await?.retried, 200);

    let (mut one, mut two) = (stopped_clock(&db).await?, stopped_clock(&db).await?);
    one.advance_clock("1 h").await?;
    two.advance_clock("1 h").await?;
    let all = async |session: &mut Session| {
        let mut woken = 0;
        loop {
            let outcome = session.wake_due(7).await?;
            woken += outcome.woken;
            if outcome.popped == 0 {
                return Ok::<_, sqlx::Error>(woken);
            }
        }
    };
    let (of_one, of_two) = tokio::join!(all(&mut one), all(&mut two));
    assert_eq!(of_one? + of_two? + all(&mut one).await?, 200);
    assert_eq!(session.queued("test_queue").await?, 200);
    drop((session, one, two));
    db.finish().await
}

#[tokio::test]
async fn an_expired_claim_counts_as_an_attempt_until_there_is_none_left() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = stopped_clock(&db).await?;
    let task = session.start(&define("deadly", json!([{ "name": "a", "max_attempts": 3 }]))).await?;
    for attempt in 1..=2 {
        assert_eq!(session.claim_one().await?.attempt, attempt);
        session.advance_clock("59.999 s").await?;
        assert_eq!(session.recover(10).await?.popped, 0, "the lease lasts a minute");
        session.advance_clock("0.001 s").await?;
        let recovered = session.recover(10).await?;
        assert_eq!((recovered.popped, recovered.recovered, recovered.failed), (1, 1, 0));
        if attempt == 2 {
            // Lost twice running: it comes back alone, at some moment within its backoff.
            assert_eq!(session.steps(task).await?, "a waiting_for_retry 2");
            session.advance_clock("2 s").await?;
            assert_eq!(session.wake_due(10).await?.woken, 1);
        }
    }
    assert_eq!(session.claim_one().await?.attempt, 3);
    session.advance_clock("60 s").await?;
    let recovered = session.recover(10).await?;
    assert_eq!((recovered.recovered, recovered.failed, recovered.finished), (0, 1, vec![task]));
    assert_eq!(session.task_state(task).await?, "error");
    assert_eq!(session.steps(task).await?, "a error 3");
    let kinds: Vec<String> =
        session.column("select kind || ' ' || code || ' ' || worker_id from stepwell.step_attempts").await?;
    assert_eq!(kinds, ["lost_lease LOST_LEASE worker"; 3]);
    assert_eq!(session.count("claims").await?, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn only_what_is_still_open_in_an_expired_claim_is_recovered() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = stopped_clock(&db).await?;
    let task = session.start(&define("three", json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }]))).await?;
    let steps = session.claim(10).await?;
    session.report(&[complete(&steps[0], "1")]).await?;
    session.advance_clock("61 s").await?;
    let recovered = session.recover(10).await?;
    assert_eq!((recovered.popped, recovered.recovered, recovered.namespaces), (1, 2, vec!["test".to_owned()]));
    session.apply(10).await?;
    assert_eq!(session.steps(task).await?, "a complete, b enqueued 2, c enqueued 2");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn nobody_waits_for_what_another_is_recovering_or_reporting() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let mut claimed = Vec::new();
    for _ in 0..3 {
        session.submit_one("test/chain", "{}").await?;
        session.initialize(1).await?;
        claimed.extend(session.claim_as(WORKER, 1, "0 s").await?);
    }
    let (mut recovering, mut reporting) = (db.session().await?, db.session().await?);
    recovering.run("begin").await?;
    assert_eq!(recovering.recover(1).await?.recovered, 1);
    reporting.run("begin").await?;
    reporting.report(&[complete(&claimed[1], "1")]).await?;

    session.run("set lock_timeout = '1ms'").await?;
    assert_eq!(session.recover(10).await?.popped, 1);
    recovering.run("commit").await?;
    reporting.run("rollback").await?;
    assert_eq!(session.recover(10).await?.popped, 1, "the report never was");
    drop((session, recovering, reporting));
    db.finish().await
}

#[tokio::test]
async fn a_result_after_the_recovery_is_refused_and_one_that_slips_through_is_stale() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = stopped_clock(&db).await?;
    let task = session.start(&chain(1)).await?;
    let late = session.claim_one().await?;
    session.advance_clock("61 s").await?;
    session.recover(10).await?;
    assert_eq!(session.report(&[complete(&late, "1")]).await?, [1]);
    assert_eq!(session.queued("step_results").await?, 0);
    session.send("step_results", &complete(&late, "1")).await?;
    assert_eq!(session.apply(10).await?.stale, 1);
    assert_eq!(session.steps(task).await?, "a enqueued 2");
    let again = session.claim_one().await?;
    session.settle(complete(&again, "2")).await?;
    let result: String = session.of_task("select result::text from stepwell.steps where task_id = $1", task).await?;
    assert_eq!((session.task_state(task).await?.as_str(), result.as_str()), ("complete", "2"));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_cancelled_task_stops_everywhere() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&diamond()).await?;
    let start = session.claim_one().await?;
    session.settle(complete(&start, "1")).await?;
    let claimed = session.claim_as(WORKER, 1, "60 s").await?.remove(0);

    assert_eq!(session.cancel(task).await?, "cancelled");
    assert_eq!(session.steps(task).await?, "start complete, left cancelled, right cancelled, end cancelled");
    assert!(session.claim(10).await?.is_empty(), "the message of the other step is dropped");
    assert_eq!(session.report_progress(WORKER, &claimed, "1").await?.as_deref(), Some("cancelled"));
    session.report(&[complete(&claimed, "1")]).await?;
    assert_eq!(session.apply(10).await?.stale, 1);
    assert_eq!(session.steps(task).await?, "start complete, left cancelled, right cancelled, end cancelled");
    let event: String = session
        .of_task("select concat_ws(' ', kind, actor, reason) from stepwell.task_events where task_id = $1", task)
        .await?;
    assert_eq!(event, "cancel a tester a test");

    assert_eq!(session.cancel(task).await?, "cancelled");
    assert_eq!(session.count("task_events").await?, 1, "a second cancel changes nothing");
    assert_eq!(sqlstate(session.retry(task).await).as_deref(), Some("SW005"));
    assert_eq!(sqlstate(session.cancel(Uuid::now_v7()).await).as_deref(), Some("SW004"));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_finished_task_is_not_cancelled_and_a_failed_one_is() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let done = session.start(&chain(1)).await?;
    drain(&mut session, |step| complete(step, "1")).await?;
    assert_eq!(session.cancel(done).await?, "complete");
    let broken = session.submit_one("test/chain", "{}").await?;
    drain(&mut session, |step| failed(step, "permanent", "")).await?;
    assert_eq!(session.task_state(broken).await?, "error");
    assert_eq!(session.cancel(broken).await?, "cancelled");
    assert_eq!(session.steps(broken).await?, "a cancelled");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_task_that_still_waits_in_the_queue_can_be_cancelled() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(2)).await?;
    let task = session.submit_one("test/chain", "{}").await?;
    assert_eq!(session.cancel(task).await?, "cancelled");
    assert_eq!(session.queued("task_requests").await?, 0);
    assert_eq!(drain(&mut session, |step| complete(step, "1")).await?, [""; 0]);
    assert_eq!(session.steps(task).await?, "a cancelled, b cancelled");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_retried_task_gets_fresh_attempts_and_the_fence_goes_on_counting() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = stopped_clock(&db).await?;
    let task = session
        .start(&define("fragile", json!([{ "name": "a", "max_attempts": 2 }, { "name": "b", "depends_on": "a" }])))
        .await?;
    assert_eq!(sqlstate(session.retry(task).await).as_deref(), Some("SW005"), "nothing has failed yet");
    let late = fail_twice(&mut session).await?;
    assert_eq!(session.task_state(task).await?, "error");

    assert_eq!(session.retry(task).await?, ["test"]);
    assert_eq!(
        (session.task_state(task).await?, session.steps(task).await?),
        ("in_progress".into(), "a enqueued 3, b pending".into())
    );
    session.send("step_results", &complete(&late, "0")).await?;
    assert_eq!(session.apply(10).await?.stale, 1, "a result from before the retry");
    fail_twice(&mut session).await?;
    assert_eq!(
        (session.task_state(task).await?, session.steps(task).await?),
        ("error".into(), "a error 4, b pending".into())
    );

    session.retry(task).await?;
    assert_eq!(drain(&mut session, |step| complete(step, "1")).await?, ["a 5", "b"]);
    assert_eq!(session.task_state(task).await?, "complete");
    assert_eq!(session.count("step_attempts").await?, 4);
    let events: Vec<String> = session.column("select kind from stepwell.task_events order by event_id").await?;
    assert_eq!(events, ["retry", "retry"]);
    assert_eq!(sqlstate(session.retry(task).await).as_deref(), Some("SW005"));
    assert_eq!(sqlstate(session.retry(Uuid::now_v7()).await).as_deref(), Some("SW004"));
    drop(session);
    db.finish().await
}

/// Lets step `a` fail in two attempts. Returns the last.
async fn fail_twice(session: &mut Session) -> Result<ClaimedStep> {
    let step = session.claim_one().await?;
    session.settle(failed(&step, "retryable", "")).await?;
    session.advance_clock("1 h").await?;
    session.wake_due(10).await?;
    let step = session.claim_one().await?;
    session.settle(failed(&step, "retryable", "")).await?;
    Ok(step)
}

#[tokio::test]
async fn a_failed_branch_can_be_retried_while_the_other_runs() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&define("both", json!([{ "name": "a" }, { "name": "b" }]))).await?;
    let steps = session.claim(2).await?;
    session.settle(failed(&steps[0], "permanent", "")).await?;
    session.retry(task).await?;
    assert_eq!(session.steps(task).await?, "a enqueued 2, b enqueued");
    session.settle(complete(&steps[1], "1")).await?;
    assert_eq!(session.task_state(task).await?, "in_progress");
    drain(&mut session, |step| complete(step, "1")).await?;
    assert_eq!(session.task_state(task).await?, "complete");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_step_without_a_handler_goes_back_until_the_interval_is_over() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = stopped_clock(&db).await?;
    let task = session.start(&define("lonely", json!([{ "name": "a", "handler": "Missing" }]))).await?;
    for _ in 0..3 {
        let step = session.claim_one().await?;
        assert_eq!(step.attempt, 1, "nothing was attempted");
        assert_eq!(session.release_unhandled(&[step], "10 min").await?, NO_TASKS);
        session.advance_clock("3 min").await?;
    }
    session.advance_clock("1 min").await?;
    let step = session.claim_one().await?;
    assert_eq!(session.release_unhandled(&[step], "10 min").await?, [task]);
    assert_eq!((session.task_state(task).await?, session.steps(task).await?), ("error".into(), "a error".into()));
    let message: String = session.value("select code || ': ' || message from stepwell.step_attempts").await?;
    assert_eq!(message, "UNKNOWN_HANDLER: no worker has the handler Missing of step a");
    assert_eq!((session.count("claims").await?, session.queued("test_queue").await?), (0, 0));

    session.retry(task).await?;
    let step = session.claim_one().await?;
    assert_eq!(session.release_unhandled(&[step], "10 min").await?, NO_TASKS, "a retry starts the clock again");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn the_patience_with_a_missing_handler_starts_again_when_a_worker_had_it() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = stopped_clock(&db).await?;
    let task = session.start(&chain(1)).await?;
    let step = session.claim_one().await?;
    session.release_unhandled(&[step], "10 min").await?;
    let step = session.claim_one().await?;
    session.settle(failed(&step, "retryable", r#""retry_after": 1200"#)).await?;
    session.advance_clock("1 h").await?;
    session.wake_due(10).await?;
    let step = session.claim_one().await?;
    assert_eq!(session.release_unhandled(&[step], "10 min").await?, NO_TASKS);
    assert_eq!(session.steps(task).await?, "a enqueued 2");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn the_patience_starts_again_when_a_worker_that_had_the_handler_was_lost() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = stopped_clock(&db).await?;
    session.start(&chain(1)).await?;
    let step = session.claim_one().await?;
    session.release_unhandled(&[step], "10 min").await?;
    session.claim_one().await?;
    session.advance_clock("1 h").await?;
    session.recover(10).await?;
    let step = session.claim_one().await?;
    assert_eq!(session.release_unhandled(&[step], "10 min").await?, NO_TASKS);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_claim_that_is_gone_cannot_give_a_step_up() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = stopped_clock(&db).await?;
    let task = session.start(&chain(1)).await?;
    let late = session.claim_one().await?;
    session.advance_clock("61 s").await?;
    session.recover(10).await?;
    assert_eq!(session.release_unhandled(std::slice::from_ref(&late), "0 s").await?, NO_TASKS);
    assert_eq!(session.steps(task).await?, "a enqueued 2");
    assert_eq!(session.queued("test_queue").await?, 1);
    drop(session);
    db.finish().await
}
