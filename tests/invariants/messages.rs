//! Invariants 2 and 3: what moves a step is there, and there once.

use anyhow::Result;

use crate::broken;

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
        "update pgmq.q_test_queue set message = message || '{\"attempt\": 2}'",
        &[("nothing lost", "right", "is enqueued (attempt 1) but in no queue and no claim")],
    )
    .await
}

#[tokio::test]
async fn a_step_that_stands_in_its_queue_twice() -> Result<()> {
    broken(
        "select pgmq.send('test_queue', message) from pgmq.q_test_queue",
        &[("one outcome", "right", "attempt 1 is on its way 2 times: test_queue, test_queue")],
    )
    .await
}

#[tokio::test]
async fn a_result_of_a_step_that_is_still_claimed() -> Result<()> {
    broken(
        "select pgmq.send('step_results', jsonb_build_object('task_id', task_ids[1], 'step', positions[1],
                'attempt', attempts[1], 'outcome', 'complete')) from stepwell.claims",
        &[("one outcome", "left", "attempt 1 is on its way 2 times: claims, step_results")],
    )
    .await
}

#[tokio::test]
async fn a_step_that_two_claims_hold() -> Result<()> {
    broken(
        "insert into stepwell.claims (expires_at, claimed_at, namespace, worker_id, task_ids, positions, attempts)
         select expires_at, claimed_at, namespace, 'another', task_ids, positions, attempts from stepwell.claims",
        &[("one outcome", "left", "attempt 1 is on its way 2 times: claims, claims")],
    )
    .await
}

#[tokio::test]
async fn a_claim_on_an_attempt_that_never_was() -> Result<()> {
    broken(
        "update stepwell.claims set attempts = '{2}'",
        &[
            ("one outcome", "left", "holds attempt 2, the step is on 1"),
            ("nothing lost", "left", "in no queue and no claim"),
        ],
    )
    .await
}

#[tokio::test]
async fn a_claim_on_no_step() -> Result<()> {
    broken(
        "update stepwell.claims set positions = '{9}'",
        &[
            ("one outcome", "-", "holds attempt 1, the step is on"),
            ("nothing lost", "left", "in no queue and no claim"),
        ],
    )
    .await
}

#[tokio::test]
async fn a_claim_that_holds_nothing() -> Result<()> {
    broken(
        "insert into stepwell.claims (expires_at, claimed_at, namespace, worker_id, task_ids, positions, attempts)
         values (now(), now(), 'test', 'worker', '{}', '{}', '{}')",
        &[("one outcome", "-", "holds nothing")],
    )
    .await
}

#[tokio::test]
async fn a_retry_without_a_timer() -> Result<()> {
    broken("delete from stepwell.step_timers", &[("nothing lost", "a", "waits for a retry without a timer")]).await
}

/// It would be dropped as one of a step that no longer waits.
#[tokio::test]
async fn a_retry_whose_timer_is_of_another_time() -> Result<()> {
    broken(
        "update stepwell.step_timers set due_at = due_at - interval '1 s'",
        &[("nothing lost", "a", "waits for a retry without a timer")],
    )
    .await
}

#[tokio::test]
async fn an_idempotency_key_of_a_task_that_is_nowhere() -> Result<()> {
    broken(
        "insert into stepwell.idempotency_keys values ('test/keyed', 'order-2', gen_random_uuid())",
        &[("nothing lost", "-", "its idempotency key order-2 is settled, but it is nowhere")],
    )
    .await
}
