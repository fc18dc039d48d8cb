//! Invariant 1: a step never starts before all its dependencies are complete or resolved.

use anyhow::Result;

use crate::broken;

#[tokio::test]
async fn a_step_that_moved_before_its_dependency() -> Result<()> {
    broken(
        "update stepwell.steps set state = 'enqueued', attempt = 1 where name = 'b';
         select pgmq.send('test_queue', jsonb_build_object('task_id', task_id, 'step', position, 'attempt', attempt))
           from stepwell.steps where name = 'b'",
        &[("dependencies first", "b", "is enqueued (attempt 1) while a is waiting_for_retry")],
    )
    .await
}

#[tokio::test]
async fn a_step_that_had_moved_before_its_dependency_when_it_was_cancelled() -> Result<()> {
    broken(
        "update stepwell.steps set attempt = 1 where name = 'n'",
        &[("dependencies first", "n", "is cancelled (attempt 1) while m is cancelled")],
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
async fn an_attempt_that_started_before_its_dependency_finished_and_failed() -> Result<()> {
    broken(
        "update stepwell.step_attempts set started_at = started_at - interval '1 h' where attempt = 2",
        &[("dependencies first", "x", "with attempt 2 before w finished")],
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

#[tokio::test]
async fn a_dependency_that_is_gone() -> Result<()> {
    broken(
        "update stepwell.steps set depends_on = '{7}' where name = 'left' and state = 'enqueued'",
        &[
            ("dependencies first", "left", "is enqueued (attempt 1) while  is"),
            ("counters", "left", "waiting_on is 0, open dependencies 1"),
        ],
    )
    .await
}

#[tokio::test]
async fn a_step_that_was_forgotten_when_its_last_dependency_completed() -> Result<()> {
    broken(
        "update stepwell.steps set state = 'pending', attempt = 0 where name = 'right' and state = 'enqueued'",
        &[("nothing lost", "right", "is pending although it waits for nothing")],
    )
    .await
}
