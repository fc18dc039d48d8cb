//! Invariant 2: what attempts left behind, each at most once and none too few.

use anyhow::Result;

use crate::broken;

/// A failure of this attempt of the step that `condition` finds.
fn failure(attempt: &str, condition: &str) -> String {
    format!(
        "insert into stepwell.step_attempts (task_id, position, attempt, kind, finished_at)
         select task_id, position, {attempt}, 'retryable', now() from stepwell.steps where {condition}"
    )
}

#[tokio::test]
async fn an_attempt_that_failed_and_completed() -> Result<()> {
    let sql = failure("attempt", "name = 'end' and state = 'complete'");
    broken(&sql, &[("one outcome", "end", "attempt 1 failed and completed")]).await
}

#[tokio::test]
async fn an_attempt_that_failed_and_still_runs() -> Result<()> {
    let sql = failure("attempt", "name = 'right' and state = 'enqueued'");
    broken(&sql, &[("one outcome", "right", "attempt 1 failed and is enqueued")]).await
}

#[tokio::test]
async fn a_failure_of_an_attempt_that_never_was() -> Result<()> {
    let sql = failure("attempt + 1", "name = 'right' and state = 'enqueued'");
    broken(&sql, &[("one outcome", "right", "1 attempts failed that it has not been on")]).await
}

#[tokio::test]
async fn a_failure_of_a_step_that_never_started() -> Result<()> {
    let sql = failure("0", "name = 'y'");
    broken(&sql, &[("one outcome", "y", "1 attempts failed that it has not been on")]).await
}

#[tokio::test]
async fn a_failure_of_no_step() -> Result<()> {
    let sql = "update stepwell.step_attempts set position = 9 where attempt = 1 and kind = 'retryable'";
    broken(sql, &[("one outcome", "-", "attempt 1 of step 9 failed"), ("one outcome", "a", "how attempt 1 failed")])
        .await
}

#[tokio::test]
async fn a_step_in_error_without_its_failure() -> Result<()> {
    broken(
        "delete from stepwell.step_attempts where attempt = 2",
        &[("one outcome", "x", "is error, but nothing says how attempt 2 failed")],
    )
    .await
}

#[tokio::test]
async fn a_retry_without_the_failure_before_it() -> Result<()> {
    broken(
        "delete from stepwell.step_attempts where kind = 'retryable'",
        &[("one outcome", "a", "is waiting_for_retry, but nothing says how attempt 1 failed")],
    )
    .await
}

#[tokio::test]
async fn an_earlier_attempt_that_left_no_row() -> Result<()> {
    broken(
        "delete from stepwell.step_attempts where attempt = 1 and kind = 'permanent'",
        &[("one outcome", "x", "is on attempt 2, but 0 before it left a row")],
    )
    .await
}

#[tokio::test]
async fn more_attempts_than_a_step_has() -> Result<()> {
    broken(
        "update stepwell.steps set max_attempts = 1 where name = 'x'",
        &[("one outcome", "x", "is on attempt 2 of 1")],
    )
    .await
}

#[tokio::test]
async fn a_retry_after_the_last_attempt() -> Result<()> {
    broken(
        "update stepwell.steps set max_attempts = 1 where name = 'a'",
        &[("one outcome", "a", "waits for a retry after attempt 1 of 1")],
    )
    .await
}

#[tokio::test]
async fn a_pending_step_on_an_attempt() -> Result<()> {
    broken(
        "update stepwell.steps set attempt = 1 where name = 'y'",
        &[
            ("one outcome", "y", "is pending with attempt 1"),
            ("dependencies first", "y", "is pending (attempt 1) while x is error"),
        ],
    )
    .await
}

#[tokio::test]
async fn an_enqueued_step_on_no_attempt() -> Result<()> {
    broken(
        "update stepwell.steps set attempt = 0 where name = 'right' and state = 'enqueued'",
        &[
            ("one outcome", "right", "is enqueued with attempt 0"),
            ("nothing lost", "right", "is enqueued (attempt 0) but in no queue and no claim"),
        ],
    )
    .await
}

#[tokio::test]
async fn a_permanent_failure_that_nobody_retried() -> Result<()> {
    broken(
        "delete from stepwell.task_events where kind = 'retry'",
        &[("one outcome", "x", "is on attempt 2 after a permanent failure that nobody retried")],
    )
    .await
}

#[tokio::test]
async fn a_complete_step_without_a_result() -> Result<()> {
    broken(
        "update stepwell.steps set result = null where name = 'w'",
        &[("one outcome", "w", "is complete without a result")],
    )
    .await
}

#[tokio::test]
async fn a_result_of_a_step_that_is_not_complete() -> Result<()> {
    broken(
        "update stepwell.steps set result = '1' where name = 'm'",
        &[("one outcome", "m", "is cancelled with a result")],
    )
    .await
}

#[tokio::test]
async fn a_finished_step_that_does_not_say_since_when() -> Result<()> {
    broken(
        "update stepwell.steps set finished_at = null where name = 'x'",
        &[("one outcome", "x", "is error, but not since when")],
    )
    .await
}
