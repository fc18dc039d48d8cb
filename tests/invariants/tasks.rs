//! Invariants 3 and 4: a task against its steps.

use anyhow::Result;

use crate::broken;

#[tokio::test]
async fn a_task_in_which_nothing_can_move() -> Result<()> {
    broken(
        "update stepwell.tasks set steps_failed = 1 where steps_remaining = 2 and state = 'in_progress';
         update stepwell.steps set state = 'error' where name = 'a'",
        &[("nothing lost", "-", "is in progress but no step of it can move")],
    )
    .await
}

#[tokio::test]
async fn a_task_in_error_in_which_a_step_moves() -> Result<()> {
    broken(
        "update stepwell.tasks set state = 'error', error = 'too soon', finished_at = now() where steps_remaining = 3
            and state = 'in_progress'",
        &[("nothing lost", "-", "is in error but 2 of its steps can move")],
    )
    .await
}

#[tokio::test]
async fn a_task_in_error_without_a_reason() -> Result<()> {
    broken(
        "update stepwell.tasks set state = 'error', finished_at = now() where state = 'pending'",
        &[("nothing lost", "-", "is in error without a reason")],
    )
    .await
}

#[tokio::test]
async fn a_pending_task_that_nobody_will_check() -> Result<()> {
    broken(
        "delete from stepwell.unvalidated_tasks",
        &[("nothing lost", "-", "is pending, but nobody will check its context")],
    )
    .await
}

#[tokio::test]
async fn a_task_with_a_step_too_few() -> Result<()> {
    broken(
        "update stepwell.tasks set steps_remaining = 1 where steps_remaining = 2 and state = 'error';
         delete from stepwell.steps where name = 'y'",
        &[("nothing lost", "-", "has 2 of the 3 steps of its workflow")],
    )
    .await
}

#[tokio::test]
async fn a_task_without_steps_that_was_not_refused() -> Result<()> {
    broken(
        "delete from stepwell.steps where name = 'v'",
        &[("nothing lost", "-", "has 0 of the 1 steps of its workflow")],
    )
    .await
}

#[tokio::test]
async fn steps_of_no_task() -> Result<()> {
    broken(
        "delete from stepwell.tasks where state = 'cancelled'",
        &[("nothing lost", "m", "is a step of no task"), ("nothing lost", "n", "is a step of no task")],
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
async fn a_wrong_count_of_failed_steps() -> Result<()> {
    broken(
        "update stepwell.tasks set steps_failed = 2 where steps_failed = 1",
        &[("counters", "-", "steps_failed is 2, steps in error 1")],
    )
    .await
}

#[tokio::test]
async fn a_finished_task_that_does_not_say_so() -> Result<()> {
    broken(
        "update stepwell.tasks set state = 'in_progress', finished_at = null
          where state = 'complete' and idempotency_key is null",
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
        "update stepwell.tasks set state = 'complete', finished_at = now()
          where steps_remaining = 3 and state = 'in_progress'",
        &[
            ("counters", "-", "steps_remaining is 3, open steps 3, state complete"),
            ("counters", "-", "is complete, but 3 of its steps are not finished"),
        ],
    )
    .await
}

#[tokio::test]
async fn a_cancelled_task_with_a_step_that_still_moves() -> Result<()> {
    broken(
        "update stepwell.steps set state = 'enqueued', finished_at = null where name = 'm';
         select pgmq.send('test_queue', jsonb_build_object('task_id', task_id, 'step', position, 'attempt', attempt))
           from stepwell.steps where name = 'm'",
        &[("counters", "-", "is cancelled, but 1 of its steps are not finished")],
    )
    .await
}

#[tokio::test]
async fn a_cancelled_step_of_a_task_that_is_not() -> Result<()> {
    broken(
        "update stepwell.steps set state = 'cancelled', finished_at = now() where name = 'y'",
        &[("counters", "-", "is error, but 1 of its steps are cancelled")],
    )
    .await
}

#[tokio::test]
async fn a_finished_task_that_does_not_say_since_when() -> Result<()> {
    broken(
        "update stepwell.tasks set finished_at = null where state = 'cancelled'",
        &[("counters", "-", "is cancelled, finished at no time")],
    )
    .await
}

#[tokio::test]
async fn a_running_task_that_says_when_it_finished() -> Result<()> {
    broken(
        "update stepwell.tasks set finished_at = now() where steps_remaining = 3 and state = 'in_progress'",
        &[("counters", "-", "is in_progress, finished at 2")],
    )
    .await
}

#[tokio::test]
async fn two_tasks_of_one_idempotency_key() -> Result<()> {
    broken(
        "update stepwell.tasks set workflow_id = (select workflow_id from stepwell.tasks where idempotency_key = 'order-1'),
                idempotency_key = 'order-1' where state = 'pending'",
        &[("one outcome", "-", "2 tasks of test/keyed have the idempotency key order-1")],
    )
    .await
}
