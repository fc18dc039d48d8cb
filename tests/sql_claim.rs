//! `claim_steps`: who gets which steps, in which order, with what.

mod support;

use std::collections::HashSet;

use anyhow::Result;
use serde_json::{json, Map, Value};
use support::session::{sqlstate, NAMESPACE};
use support::{chain, complete, define, define_with, drain, Session, TestDatabase};
use uuid::Uuid;

const BIG: &str = r#"{"2^64": 18446744073709551616, "2^128": 340282366920938463463374607431768211456, "price": 1.10, "tiny": 0.0000000000000000000000000000001}"#;

/// A JSON object's members by name, each as the text it stands there with.
fn members(json: &str) -> Result<Map<String, Value>> {
    let raw: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> = serde_json::from_str(json)?;
    Ok(raw.into_iter().map(|(name, value)| (name, Value::String(value.get().to_owned()))).collect())
}

#[tokio::test]
async fn a_queue_of_somebody_else_is_left_alone() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.run("select pgmq.create('test_queue'); select pgmq.send('test_queue', '{}')").await?;
    assert_eq!(sqlstate(session.register(&chain(1)).await).as_deref(), Some("SW009"));
    assert_eq!(session.value::<i64>("select count(*) from pgmq.q_test_queue").await?, 1);
    assert_eq!(
        session.value::<i64>("select count(*) from pg_indexes where indexname like '%test_queue%vt_idx'").await?,
        1
    );
    assert!(session.run("select stepwell.pause_namespace('test')").await.is_err(), "it is no namespace");
    session.run("select pgmq.drop_queue('test_queue')").await?;
    session.register(&chain(1)).await?;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_queue_cannot_be_called_like_a_function_of_ours() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    for name in ["requests", "messages", "results", "steps", "_queue", "Odd_queue", "a\"b_queue", "", "step_results_2"]
    {
        let refused = session.run(&format!("select stepwell.create_queue('{name}')")).await;
        assert_eq!(sqlstate(refused).as_deref(), Some("SW003"), "{name}");
    }
    session.register(&chain(1)).await?;
    let task = session.submit_one("test/chain", "{}").await?;
    session.initialize(1).await?;
    assert_eq!(session.claim_one().await?.task_id, task);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn reports_of_one_fetch_do_not_wait_for_one_another() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, mut other) = (db.session().await?, db.session().await?);
    session.register(&chain(1)).await?;
    session.submit(&vec![json!({ "workflow": "test/chain", "context": {} }).to_string(); 70]).await?;
    session.initialize(70).await?;
    let steps = session.claim(70).await?;
    let claims: Vec<_> = steps.chunk_by(|one, other| one.claim_id == other.claim_id).collect();
    assert_eq!(claims.iter().map(|claim| claim.len()).collect::<Vec<_>>(), [32, 32, 6]);

    other.run("begin; set local lock_timeout = '5 s'").await?;
    assert_eq!(other.report(&[complete(&steps[0], "1")]).await?, [0; 0]);
    session.run("set lock_timeout = '1 s'").await?;
    assert_eq!(session.report(&[complete(&steps[32], "1"), complete(&steps[69], "1")]).await?, [0; 0]);
    other.run("commit").await?;
    let held = "select cardinality(positions) from stepwell.claims order by claim_id";
    assert_eq!(session.column::<i32>(held).await?, [31, 31, 5]);
    drop((session, other));
    db.finish().await
}

#[tokio::test]
async fn steps_are_claimed_in_the_order_in_which_they_came() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let mut tasks = Vec::new();
    for _ in 0..25 {
        tasks.push(session.submit_one("test/chain", "{}").await?);
    }
    while session.initialize(4).await?.popped > 0 {}
    let mut claimed = Vec::new();
    for limit in [1, 7, 10, 10] {
        let steps = session.claim(limit).await?;
        assert!(steps.len() <= limit as usize);
        assert!(steps.iter().all(|step| step.claim_id == steps[0].claim_id), "one claim for the whole fetch");
        claimed.extend(steps.into_iter().map(|step| step.task_id));
    }
    assert_eq!(claimed, tasks);
    assert!(session.claim(10).await?.is_empty());
    assert_eq!(session.count("claims").await?, 4, "no claim without a step");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_claim_records_who_holds_what_until_when() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.set_clock("2030-01-01 00:00:00+00").await?;
    let task = session.start(&chain(1)).await?;
    let status = "select state || ' ' || coalesce(worker_id, '-') from stepwell.step_status where task_id = $1";
    assert_eq!(session.of_task::<String>(status, task).await?, "enqueued -");
    session.claim_as("w1", 1, "1500 ms").await?;
    let held: String = session
        .value("select concat_ws(' ', namespace, worker_id, expires_at - claimed_at, attempts) from stepwell.claims")
        .await?;
    assert_eq!(held, "test w1 00:00:01.5 {1}");
    assert_eq!(session.of_task::<String>(status, task).await?, "in_progress w1");
    session.advance_clock("2 s").await?;
    assert_eq!(session.of_task::<String>(status, task).await?, "enqueued -", "an expired claim holds nothing");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_step_comes_with_all_that_its_handler_needs() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let steps = r#"[{"name": "a", "handler": "A"},
                    {"name": "b", "handler": "B", "depends_on": "a", "max_attempts": 7, "timeout": 1.5, "config": CONFIG}]"#
        .replace("CONFIG", BIG);
    let definition = format!(r#"{{"namespace": "test", "name": "whole", "version": "2.0", "steps": {steps}}}"#);
    session.register(&stepwell::Workflow::from_json(&definition)?).await?;
    let request = format!(
        r#"{{"workflow": "test/whole", "context": {BIG}, "correlation_id": "order-7", "trace_context": {{"traceparent": "00-1"}}}}"#
    );
    session.submit(&[request]).await?;
    session.initialize(1).await?;

    let a = session.claim_one().await?;
    assert_eq!((a.workflow.as_str(), a.version.as_str()), ("test/whole", "2.0"));
    assert_eq!((a.name.as_str(), a.handler.as_str(), a.position, a.attempt, a.max_attempts), ("a", "A", 0, 1, 3));
    assert_eq!((a.timeout_ms, a.config, a.results), (None, None, None));
    assert_eq!(members(&a.context)?, members(BIG)?);
    assert_eq!(a.correlation_id.as_deref(), Some("order-7"));
    assert_eq!(a.trace_context.as_deref(), Some(r#"{"traceparent": "00-1"}"#));

    session
        .report(&[
            r#"{"claim": CLAIM, "task_id": "TASK", "step": 0, "attempt": 1, "outcome": "complete", "result": BIG}"#
                .replace("CLAIM", &a.claim_id.to_string())
                .replace("TASK", &a.task_id.to_string())
                .replace("BIG", BIG),
        ])
        .await?;
    session.apply(1).await?;
    let b = session.claim_one().await?;
    assert_eq!((b.handler.as_str(), b.max_attempts, b.timeout_ms), ("B", 7, Some(1500)));
    assert_eq!(members(b.config.as_deref().unwrap_or_default())?, members(BIG)?);
    let results = members(b.results.as_deref().unwrap_or_default())?;
    assert_eq!(members(results["a"].as_str().unwrap_or_default())?, members(BIG)?);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn only_the_results_of_direct_dependencies_come_along() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.start(&chain(3)).await?;
    let mut seen = Vec::new();
    drain(&mut session, |step| {
        seen.push(step.results.clone());
        complete(step, &format!(r#""of {}""#, step.name))
    })
    .await?;
    assert_eq!(seen, [None, Some(r#"{"a": "of a"}"#.to_owned()), Some(r#"{"b": "of b"}"#.to_owned())]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn stale_messages_are_dropped_and_garbage_is_buried_while_the_rest_is_claimed() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&define("two", json!([{ "name": "a" }, { "name": "b", "depends_on": "a" }]))).await?;
    let queue = "test_queue";
    let unknown = Uuid::now_v7();
    for stale in [
        format!(r#"{{"task_id": "{task}", "step": 0, "attempt": 2}}"#),
        format!(r#"{{"task_id": "{task}", "step": 0}}"#),
        format!(r#"{{"task_id": "{task}", "step": 1, "attempt": 0}}"#),
        format!(r#"{{"task_id": "{task}", "step": 1, "attempt": 1}}"#),
    ] {
        session.send(queue, &stale).await?;
    }
    let garbage = [
        "null".to_owned(),
        "17".to_owned(),
        "[1]".to_owned(),
        r#""a""#.to_owned(),
        "{}".to_owned(),
        r#"{"task_id": {}, "step": [], "attempt": "x"}"#.to_owned(),
        format!(r#"{{"task_id": "{task}", "step": 5, "attempt": 1}}"#),
        format!(r#"{{"task_id": "{unknown}", "step": 0, "attempt": 1}}"#),
    ];
    for message in &garbage {
        session.send(queue, message).await?;
    }
    session.run(&format!("insert into pgmq.q_{queue} (vt, message) values (clock_timestamp(), null)")).await?;
    session.send(queue, &format!(r#"{{"task_id": "{task}", "step": 0, "attempt": 1}}"#)).await?;

    let steps = session.claim(100).await?;
    assert_eq!(steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["a"], "one of a doubled message");
    assert_eq!(session.dead_reasons().await?, vec!["the message names no step of a task"; garbage.len() + 1]);
    assert_eq!(session.queued(queue).await?, 0);
    assert_eq!(session.steps(task).await?, "a enqueued, b pending");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_claim_holds_nothing_of_messages_that_lead_nowhere() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let (cancelled, good) = (session.start(&chain(1)).await?, session.submit_one("test/chain", "{}").await?);
    session.initialize(10).await?;
    session.cancel(cancelled).await?;
    let unknown = Uuid::now_v7();
    session.send("test_queue", &format!(r#"{{"task_id": "{unknown}", "step": 0, "attempt": 1}}"#)).await?;
    let steps = session.claim(100).await?;
    assert_eq!(steps.iter().map(|step| step.task_id).collect::<Vec<_>>(), [good]);
    let held: Vec<Uuid> = session.column("select unnest(task_ids) from stepwell.claims").await?;
    assert_eq!(held, [good]);
    assert_eq!(session.dead_reasons().await?, ["the message names no step of a task"]);
    assert_eq!(session.queued("test_queue").await?, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_message_of_another_attempt_gives_nobody_the_step() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&chain(1)).await?;
    session.claim_one().await?;
    for attempt in [0, 2] {
        session.send("test_queue", &format!(r#"{{"task_id": "{task}", "step": 0, "attempt": {attempt}}}"#)).await?;
    }
    assert!(session.claim_as("another", 10, "60 s").await?.is_empty());
    assert_eq!((session.count("claims").await?, session.count("dead_letters").await?), (1, 0));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn nobody_waits_for_what_another_is_claiming() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, mut other) = (db.session().await?, db.session().await?);
    let wide: Vec<_> = (0..5).map(|index| json!({ "name": format!("s{index}") })).collect();
    session.start(&define("wide", wide.into())).await?;
    session.run("begin").await?;
    assert_eq!(session.claim(2).await?.len(), 2);
    other.run("set lock_timeout = '1ms'").await?;
    assert_eq!(other.claim(10).await?.iter().map(|step| step.position).collect::<Vec<_>>(), [2, 3, 4]);
    session.run("rollback").await?;
    assert_eq!(other.claim(10).await?.iter().map(|step| step.position).collect::<Vec<_>>(), [0, 1]);
    drop((session, other));
    db.finish().await
}

#[tokio::test]
async fn a_namespace_has_a_queue_of_its_own() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&define_with("chain", json!([{ "name": "x" }]), json!({ "namespace": "other" }))).await?;
    session.submit_one("other/chain", "{}").await?;
    assert_eq!(session.initialize(1).await?.namespaces, ["other"]);
    let queues: i64 = session.value("select count(*) from pgmq.meta where queue_name = 'test_queue'").await?;
    assert_eq!(queues, 0, "nobody registered a workflow of {NAMESPACE}");
    session.register(&chain(1)).await?;
    assert!(session.claim(10).await?.is_empty());
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn many_workers_get_each_step_once() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let wide: Vec<_> = (0..600).map(|index| json!({ "name": format!("s{index}") })).collect();
    session.widen_queues().await?;
    session.start(&define("wide", wide.into())).await?;
    let mut workers = tokio::task::JoinSet::new();
    for (index, mut worker) in db.sessions(6).await?.into_iter().enumerate() {
        workers.spawn(async move { claim_all(&mut worker, index).await });
    }
    let claimed: Vec<i16> = workers.join_all().await.into_iter().collect::<Result<Vec<_>>>()?.concat();
    assert_eq!(claimed.len(), 600);
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), 600);
    let held: i64 = session.value("select sum(cardinality(positions)) from stepwell.claims").await?;
    assert_eq!(held, 600);
    drop(session);
    db.finish().await
}

async fn claim_all(worker: &mut Session, index: usize) -> Result<Vec<i16>> {
    let mut claimed = Vec::new();
    loop {
        let steps = worker.claim_as(&format!("worker {index}"), 3 + index as i32, "60 s").await?;
        // Others may hold all that is left, and only until they commit.
        if steps.is_empty() && worker.queued("test_queue").await? == 0 {
            return Ok(claimed);
        }
        claimed.extend(steps.iter().map(|step| step.position));
    }
}

#[tokio::test]
async fn messages_of_no_use_hold_up_no_claim() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&chain(1)).await?;
    session.run("delete from pgmq.q_test_queue").await?;
    let message = |attempt: i32| format!(r#"{{"task_id": "{task}", "step": 0, "attempt": {attempt}}}"#);
    for _ in 0..30 {
        session.send("test_queue", &message(7)).await?; // as after a cancel, or a lease that was lost
    }
    session.send("test_queue", &message(1)).await?;
    assert_eq!(session.claim(3).await?.len(), 1);
    assert_eq!((session.queued("test_queue").await?, session.count("claims").await?), (0, 1));
    drop(session);
    db.finish().await
}
