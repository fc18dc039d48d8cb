//! The history checker itself: each kind of violation, made by hand, is named.

mod support;

use anyhow::{Context, Result};
use support::{chain, complete, diamond, drain, failed, Session, TestDatabase};

/// A finished diamond, a chain whose `a` waits for its retry, and a diamond whose `start` is complete, `left` claimed and
/// `right` in the queue.
async fn history(db: &TestDatabase) -> Result<Session> {
    let mut session = db.session().await?;
    session.start(&diamond()).await?;
    drain(&mut session, |step| complete(step, "1")).await?;
    session.start(&chain(2)).await?;
    let a = session.claim_one().await?;
    session.settle(failed(&a, "retryable", "")).await?;
    session.start(&diamond()).await?;
    let start = session.claim_one().await?;
    session.settle(complete(&start, "1")).await?;
    session.claim(1).await?;
    session.assert_invariants().await?;
    Ok(session)
}

/// Breaks a good history with `sql` and expects exactly these violations: which invariant, which step, what it says.
async fn broken(sql: &str, expected: &[(&str, &str, &str)]) -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = history(&db).await?;
    assert!(session.run(sql).await? > 0, "{sql} changed nothing");
    let mut found: Vec<String> = session
        .column("select concat_ws(' | ', invariant, coalesce(step, '-'), details) from stepwell.check_invariants()")
        .await?;
    for (invariant, step, details) in expected {
        let fits = |text: &String| text.starts_with(&format!("{invariant} | {step} | ")) && text.contains(details);
        let place = found.iter().position(fits);
        let place = place.with_context(|| format!("{invariant} | {step} | {details}: not among {found:?}"))?;
        found.remove(place);
    }
    assert!(found.is_empty(), "more than expected: {found:?}");
    drop(session);
    db.discard().await
}

#[tokio::test]
async fn a_step_that_moved_before_its_dependency() -> Result<()> {
    broken(
        "update stepwell.steps set state = 'waiting_for_retry', run_at = now() where name = 'b'",
        &[
            ("dependencies first", "b", "is waiting_for_retry while a is waiting_for_retry"),
            ("nothing lost", "b", "without a timer"),
        ],
    )
    .await
}

#[tokio::test]
async fn a_step_that_started_before_its_dependency_finished() -> Result<()> {
    broken(
        "update stepwell.steps set started_at = started_at - interval '1 h' where name = 'end' and state = 'complete'",
        &[
            ("dependencies first", "end", "before left finished"),
            ("dependencies first", "end", "before right finished"),
        ],
    )
    .await
}

#[tokio::test]
async fn an_attempt_that_failed_and_completed() -> Result<()> {
    broken(
        "insert into stepwell.step_attempts (task_id, position, attempt, kind, finished_at)
         select task_id, position, attempt, 'retryable', now() from stepwell.steps where name = 'end' and state = 'complete'",
        &[("one outcome", "end", "attempt 1 failed and completed")],
    )
    .await
}

#[tokio::test]
async fn an_enqueued_step_whose_message_is_gone() -> Result<()> {
    broken(
        "delete from pgmq.q_test_queue",
        &[("nothing lost", "right", "is enqueued (attempt 1) but in no queue and no claim")],
    )
    .await
}

#[tokio::test]
async fn an_enqueued_step_whose_claim_is_gone() -> Result<()> {
    broken("delete from stepwell.claims", &[("nothing lost", "left", "in no queue and no claim")]).await
}

#[tokio::test]
async fn an_enqueued_step_whose_message_is_of_another_attempt() -> Result<()> {
    broken(
        "update stepwell.steps set attempt = 2 where name = 'right' and state = 'enqueued'",
        &[("nothing lost", "right", "attempt 2")],
    )
    .await
}

#[tokio::test]
async fn a_retry_without_a_timer() -> Result<()> {
    broken("delete from stepwell.step_timers", &[("nothing lost", "a", "waits for a retry without a timer")]).await
}

#[tokio::test]
async fn a_task_in_which_nothing_can_move() -> Result<()> {
    broken(
        "update stepwell.steps set state = 'error' where name = 'a'",
        &[("nothing lost", "-", "is in progress but no step of it can move")],
    )
    .await
}

#[tokio::test]
async fn a_wrong_count_of_remaining_steps() -> Result<()> {
    broken(
        "update stepwell.tasks set steps_remaining = 2 where state = 'in_progress' and steps_remaining = 3",
        &[("counters", "-", "steps_remaining is 2, open steps 3")],
    )
    .await
}

#[tokio::test]
async fn a_finished_task_that_does_not_say_so() -> Result<()> {
    broken(
        "update stepwell.tasks set state = 'in_progress' where state = 'complete'",
        &[
            ("counters", "-", "steps_remaining is 0, open steps 0, state in_progress"),
            ("nothing lost", "-", "no step of it can move"),
        ],
    )
    .await
}

#[tokio::test]
async fn a_complete_task_with_open_steps() -> Result<()> {
    broken(
        "update stepwell.tasks set state = 'complete' where steps_remaining = 3",
        &[("counters", "-", "steps_remaining is 3, open steps 3, state complete")],
    )
    .await
}

#[tokio::test]
async fn a_wrong_count_of_open_dependencies() -> Result<()> {
    broken(
        "update stepwell.steps set waiting_on = 1 where name = 'end' and state = 'pending'",
        &[("counters", "end", "waiting_on is 1, open dependencies 2")],
    )
    .await
}
