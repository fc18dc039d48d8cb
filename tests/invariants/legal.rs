//! What is no violation, though it comes near one. The states that no function makes yet are made by hand.

use anyhow::Result;

use crate::broken;

#[tokio::test]
async fn a_timer_of_a_step_that_does_not_wait() -> Result<()> {
    broken("insert into stepwell.step_timers select now(), task_id, position from stepwell.steps", &[]).await
}

#[tokio::test]
async fn messages_that_nobody_can_use() -> Result<()> {
    broken(
        "select pgmq.send(queue_name, message) from pgmq.meta,
           (values ('null'::jsonb), ('{}'), ('{\"task_id\": \"?\", \"step\": -1, \"attempt\": 1e9}'), ('[1]')) m (message)",
        &[],
    )
    .await
}

#[tokio::test]
async fn a_message_of_an_earlier_attempt() -> Result<()> {
    broken(
        "select pgmq.send('test_queue', jsonb_build_object('task_id', task_id, 'step', position, 'attempt', 1))
           from stepwell.steps where name = 'x'",
        &[],
    )
    .await
}

#[tokio::test]
async fn an_idempotency_key_whose_request_waits_or_was_buried() -> Result<()> {
    broken(
        "select from stepwell.submit_tasks(array['{\"workflow\": \"test/keyed\", \"idempotency_key\": \"1\"}'::jsonb]);
         select from stepwell.submit_tasks(array['{\"workflow\": \"no/such\", \"idempotency_key\": \"2\"}'::jsonb]);
         select from stepwell.initialize_tasks(10);
         select from stepwell.submit_tasks(array['{\"workflow\": \"test/keyed\", \"idempotency_key\": \"3\"}'::jsonb])",
        &[],
    )
    .await
}

/// A step that somebody resolves leaves no failure behind for the attempt that it was on.
#[tokio::test]
async fn an_enqueued_a_waiting_and_a_failed_step_that_somebody_resolved() -> Result<()> {
    broken(
        "with resolved as (
           update stepwell.steps set state = 'resolved', result = '1', run_at = null, finished_at = now()
            where name in ('a', 'x') or name in ('left', 'right') and state = 'enqueued' returning *
         ), next as (
           update stepwell.steps s set state = 'enqueued', attempt = 1, waiting_on = 0
             from resolved r where s.task_id = r.task_id and s.name in ('b', 'y', 'end') and s.position = any (r.dependents)
           returning s.*
         ), sent as (
           select pgmq.send('test_queue', jsonb_build_object('task_id', n.task_id, 'step', n.position, 'attempt', 1))
             from next n
         )
         update stepwell.tasks t set state = 'in_progress', steps_failed = 0, finished_at = null,
                steps_remaining = t.steps_remaining - (select count(*) from resolved r where r.task_id = t.task_id)
          where t.task_id in (select r.task_id from resolved r) and (select count(*) from sent) > 0",
        &[],
    )
    .await
}

/// The last step of a task is resolved; the one before it had failed once.
#[tokio::test]
async fn a_task_whose_steps_are_all_complete_or_resolved() -> Result<()> {
    broken(
        "update stepwell.steps s set state = 'resolved', result = 'null', attempt = greatest(s.attempt, 1), waiting_on = 0,
                finished_at = now() where name in ('x', 'y');
         update stepwell.tasks set state = 'resolved', steps_remaining = 0, steps_failed = 0 where steps_failed = 1",
        &[],
    )
    .await
}

/// A task that runs out of time fails the steps that could still move; one that waits has its failure already.
#[tokio::test]
async fn a_task_that_is_overdue() -> Result<()> {
    broken(
        "with overdue as (
           update stepwell.steps set state = 'error', run_at = null, finished_at = now()
            where state in ('enqueued', 'waiting_for_retry') returning *
         ), recorded as (
           insert into stepwell.step_attempts (task_id, position, attempt, kind, finished_at)
           select task_id, position, attempt, 'timeout', now() from overdue on conflict do nothing
         )
         update stepwell.tasks t set state = 'error', finished_at = now(), error = 'overdue',
                steps_failed = (select count(*) from overdue o where o.task_id = t.task_id)
          where t.state = 'in_progress'",
        &[],
    )
    .await
}
