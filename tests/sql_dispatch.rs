//! Dispatch: which ready step comes into its namespace's queue, in which order, and how many at a time.

mod support;

use std::collections::BTreeMap;

use anyhow::{ensure, Result};
use serde_json::json;
use support::session::sqlstate;
use support::{chain, complete, define, define_with, drain, failed, Session, TestDatabase};
use uuid::Uuid;

const START: &str = "2030-01-01 00:00:00+00";

/// A session whose clock stands still, with the workflow `test/chain` of one step, and queues that take one step at a
/// time.
async fn one_at_a_time(db: &TestDatabase) -> Result<Session> {
    let mut session = db.session().await?;
    session.set_clock(START).await?;
    session.register(&chain(1)).await?;
    session.run("select stepwell.configure_dispatch(1, '60 s')").await?;
    Ok(session)
}

/// Submits a task with a priority and initializes it.
async fn arrive(session: &mut Session, priority: i16) -> Result<Uuid> {
    let request = json!({ "workflow": "test/chain", "context": {}, "priority": priority }).to_string();
    let task = session.submit(&[request]).await?[0].task_id;
    session.run("update pgmq.q_task_requests set enqueued_at = stepwell.now()").await?;
    ensure!(session.initialize(10).await?.initialized == 1);
    Ok(task)
}

/// Submits so many tasks at once and initializes them.
async fn arrive_together(session: &mut Session, workflow: &str, count: usize) -> Result<()> {
    let request = json!({ "workflow": workflow, "context": {} }).to_string();
    session.submit(&vec![request; count]).await?;
    while session.initialize(500).await?.popped > 0 {}
    Ok(())
}

/// Dispatches and runs one step to its end; none when there is nothing to run.
async fn serve(session: &mut Session) -> Result<Option<Uuid>> {
    session.dispatch(10).await?;
    let Some(step) = session.claim(1).await?.pop() else { return Ok(None) };
    session.settle(complete(&step, "1")).await?;
    Ok(Some(step.task_id))
}

async fn serve_all(session: &mut Session) -> Result<Vec<Uuid>> {
    let mut served = Vec::new();
    while let Some(task) = serve(session).await? {
        served.push(task);
    }
    Ok(served)
}

#[tokio::test]
async fn of_one_priority_the_oldest_goes_first() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = one_at_a_time(&db).await?;
    let mut arrived = Vec::new();
    for _ in 0..20 {
        arrived.push(arrive(&mut session, 3).await?);
        session.advance_clock("1 s").await?;
    }
    assert_eq!(session.queued("test_queue").await?, 1, "the others wait before the queue");
    assert_eq!(session.count("ready_steps").await?, 19);
    assert_eq!(serve_all(&mut session).await?, arrived);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_level_of_priority_is_worth_boost_and_no_more() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = one_at_a_time(&db).await?;
    let before = arrive(&mut session, 0).await?; // stands in the queue before anything is compared
    let low = arrive(&mut session, -1).await?;
    session.advance_clock("119 s").await?;
    let overtaking = arrive(&mut session, 1).await?; // two levels: 120 s
    session.advance_clock("2 s").await?;
    let too_late = arrive(&mut session, 1).await?;
    let urgent = arrive(&mut session, 10).await?;
    assert_eq!(serve_all(&mut session).await?, [before, urgent, overtaking, low, too_late]);
    drop(session);
    db.finish().await
}

/// Two urgent tasks arrive every second, one is served: the low one waits for those that came before it, and those that
/// came within its wait of levels × boost, and for nobody else.
#[tokio::test]
async fn a_standing_overload_of_urgent_work_delays_a_low_task_by_its_bound_only() -> Result<()> {
    let (low, urgent, boost, before) = (-1_i16, 1_i16, 20_usize, 10_usize);
    let db = TestDatabase::new().await?;
    let mut session = one_at_a_time(&db).await?;
    session.run(&format!("select stepwell.configure_dispatch(1, '{boost} s')")).await?;
    for _ in 0..before {
        arrive(&mut session, urgent).await?;
    }
    let waiting = arrive(&mut session, low).await?;
    let bound = before + 2 * (usize::from(urgent.abs_diff(low)) * boost);
    for served in 0.. {
        session.advance_clock("1 s").await?;
        arrive(&mut session, urgent).await?;
        arrive(&mut session, urgent).await?;
        if serve(&mut session).await? == Some(waiting) {
            // Those of the very second of the bound tie with it; the smaller id, which is older, goes first.
            assert!((bound - 2..=bound).contains(&served), "it was served after {served} others, the bound is {bound}");
            break;
        }
        assert!(served <= bound, "it waits beyond its bound");
    }
    drop(session);
    db.discard().await
}

#[tokio::test]
async fn later_steps_of_a_task_count_from_its_beginning() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = one_at_a_time(&db).await?;
    session.register(&define("pair", json!([{ "name": "a" }, { "name": "b", "depends_on": "a" }]))).await?;
    let pair = session.submit_one("test/pair", "{}").await?;
    session.initialize(10).await?;
    session.advance_clock("1 s").await?;
    let later = arrive(&mut session, 0).await?;
    let second_later = arrive(&mut session, 0).await?;
    assert_eq!(serve_all(&mut session).await?, [pair, pair, later, second_later]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_retry_keeps_the_place_of_its_task() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = one_at_a_time(&db).await?;
    let oldest = arrive(&mut session, 0).await?;
    let step = session.claim_one().await?;
    session.settle(failed(&step, "retryable", r#""retry_after": 5"#)).await?;
    session.advance_clock("1 s").await?;
    let between = arrive(&mut session, 0).await?;
    let last = arrive(&mut session, 0).await?;
    session.advance_clock("10 s").await?;
    assert_eq!(session.wake_due(10).await?.woken, 1);
    assert_eq!(serve_all(&mut session).await?, [between, oldest, last], "the queue had a step already");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_queue_holds_a_tenth_of_its_window_and_more_as_workers_take_more() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    session.run("select stepwell.configure_dispatch(200, '60 s')").await?;
    arrive_together(&mut session, "test/chain", 1_000).await?;
    assert_eq!(session.queued("test_queue").await?, 20);
    assert_eq!(session.count("ready_steps").await?, 980);
    assert_eq!(session.dispatch(500).await?.dispatched, 0, "it is full");

    session.claim(20).await?;
    assert_eq!(session.dispatch(500).await?.dispatched, 40, "twice what workers hold");
    assert_eq!(session.dispatch(500).await?.dispatched, 0);
    session.claim(40).await?;
    assert_eq!(session.dispatch(500).await?.dispatched, 100, "half of the window");
    assert_eq!(session.dispatch(500).await?.dispatched, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn what_comes_before_all_that_waits_goes_straight_into_the_queue() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(2)).await?;
    session.run("select stepwell.configure_dispatch(100, '60 s')").await?;
    arrive_together(&mut session, "test/chain", 50).await?;
    assert_eq!((session.queued("test_queue").await?, session.count("ready_steps").await?), (10, 40));
    let claimed = session.claim(10).await?;
    let results: Vec<String> = claimed.iter().map(|step| complete(step, "1")).collect();
    session.report(&results).await?;
    session.apply(10).await?;
    assert_eq!((session.queued("test_queue").await?, session.count("ready_steps").await?), (10, 40));
    let next: Vec<String> = session.claim(10).await?.into_iter().map(|step| step.name).collect();
    assert_eq!(next, ["b"; 10], "the second steps of the oldest tasks");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn results_bring_what_is_next_in_line_past_the_queue() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(2)).await?;
    session.run("select stepwell.configure_dispatch(100, '60 s')").await?;
    arrive_together(&mut session, "test/chain", 50).await?;
    let first = session.claim(10).await?;
    let waiting: Vec<Uuid> =
        session.column("select task_id from stepwell.ready_steps order by dispatch_at, task_id").await?;
    let results: Vec<String> = first.iter().map(|step| complete(step, "1")).collect();
    let settled = session.settle_at_once(&results, 14).await?;
    assert_eq!((settled.applied.completed, settled.refused.len()), (10, 0));
    let (followers, others) = settled.claimed.split_at(10);
    assert!(followers.iter().all(|step| step.name == "b"), "what the results made ready is of the oldest tasks");
    assert_eq!(followers[0].results.as_deref(), Some(r#"{"a": 1}"#));
    assert_eq!(others.iter().map(|step| step.task_id).collect::<Vec<_>>(), waiting[..4]);
    assert_eq!(session.count("ready_steps").await? + session.queued("test_queue").await?, 36);
    let sent = "select sent from stepwell.queue_metrics(1) where queue = 'test_queue'";
    let queued = session.queued("test_queue").await?;
    assert_eq!(session.value::<i64>(sent).await?, 10 + 14 + queued, "those that passed count");

    let results: Vec<String> = settled.claimed.iter().map(|step| complete(step, "2")).collect();
    let settled = session.settle_at_once(&results, 3).await?;
    assert_eq!(settled.applied.finished.len(), 10);
    assert_eq!(
        settled.claimed.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(),
        ["b"; 3],
        "no more than wanted"
    );
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn nothing_passes_what_is_more_urgent() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = one_at_a_time(&db).await?;
    let steps = json!([{ "name": "a" }, { "name": "x" }, { "name": "b", "depends_on": "a" }, { "name": "y", "depends_on": "x" }]);
    session.register(&define("pairs", steps)).await?;
    let pairs = session.submit_one("test/pairs", "{}").await?;
    session.run("update pgmq.q_task_requests set enqueued_at = stepwell.now()").await?;
    session.initialize(10).await?;
    let mut first = session.claim(2).await?;
    session.dispatch(10).await?;
    first.extend(session.claim(2).await?);
    session.advance_clock("1 s").await?;
    let later = arrive(&mut session, 0).await?;
    let urgent = arrive(&mut session, 10).await?;
    let results: Vec<String> = first.iter().map(|step| complete(step, "1")).collect();
    let settled = session.settle_at_once(&results, 2).await?;
    let tasks: Vec<Uuid> = settled.claimed.iter().map(|step| step.task_id).collect();
    assert_eq!(tasks, [urgent, pairs], "of what became ready one is left in line");
    let results: Vec<String> = settled.claimed.iter().map(|step| complete(step, "1")).collect();
    let tasks: Vec<Uuid> = session.settle_at_once(&results, 5).await?.claimed.iter().map(|step| step.task_id).collect();
    assert_eq!(tasks, [pairs]);
    assert_eq!(session.claim_one().await?.task_id, later, "it stood in the queue");
    drop(session);
    db.finish().await
}

/// Submits a task of each of two namespaces, the second after so many of the first.
#[tokio::test]
async fn a_flood_of_requests_does_not_hold_up_another_namespace() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    session.register(&define_with("first", json!([{ "name": "a" }]), json!({ "namespace": "other" }))).await?;
    let flood = json!({ "workflow": "test/chain", "context": {} }).to_string();
    session.submit(&vec![flood; 3_000]).await?;
    let task = session.submit_one("other/first", "{}").await?;
    let popped = session.initialize(100).await?.popped;
    assert!((51..=100).contains(&popped), "the oldest 50, and a share of the others: {popped}");
    assert_eq!(session.task_state(task).await?, "in_progress");
    assert_eq!(session.queued("other_queue").await?, 1);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn namespaces_share_a_batch_of_dispatch() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.run("select stepwell.configure_dispatch(1000, '60 s')").await?;
    for namespace in ["one", "two", "three"] {
        session.register(&define_with("w", json!([{ "name": "a" }]), json!({ "namespace": namespace }))).await?;
        arrive_together(&mut session, &format!("{namespace}/w"), 400).await?;
    }
    session.run("delete from pgmq.q_one_queue; delete from pgmq.q_two_queue; delete from pgmq.q_three_queue").await?;
    let outcome = session.dispatch(90).await?;
    assert_eq!(outcome.dispatched, 90);
    assert_eq!(outcome.namespaces, ["one", "three", "two"]);
    for namespace in ["one", "two", "three"] {
        assert_eq!(session.queued(&format!("{namespace}_queue")).await?, 30, "{namespace}");
    }
    drop(session);
    db.discard().await
}

#[tokio::test]
async fn a_namespace_runs_no_more_steps_at_once_than_its_concurrency() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(2)).await?;
    session.run("select stepwell.limit_namespace('test', 3, null, null, 'a test', 'a tester')").await?;
    arrive_together(&mut session, "test/chain", 10).await?;
    assert_eq!(session.queued("test_queue").await?, 3);
    let mut executed = 0;
    let mut held = Vec::new();
    while executed < 20 {
        session.dispatch(500).await?;
        held.extend(session.claim(1).await?);
        session.dispatch(500).await?;
        let in_queue = session.queued("test_queue").await?;
        let running = in_queue + held.len() as i64;
        assert!(running == 3 || running < 3 && executed >= 15, "{running} after {executed}");
        session.settle(complete(&held.pop().expect("a claimed step"), "1")).await?;
        executed += 1;
    }
    let events: Vec<String> =
        session.column("select concat_ws(' ', namespace, kind, actor, reason, details ->> 'concurrency') from stepwell.task_events").await?;
    assert_eq!(events, ["test limit a tester a test 3"]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_rate_holds_in_any_period_of_its_length() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = one_at_a_time(&db).await?;
    session.run("select stepwell.configure_dispatch(1000, '60 s')").await?;
    session.run("select stepwell.limit_namespace('test', null, 20, '10 s')").await?;
    arrive_together(&mut session, "test/chain", 100).await?;
    let mut sent: Vec<(u32, usize)> = Vec::new();
    for tick in 0..600_u32 {
        session.dispatch(500).await?;
        sent.push((tick, session.claim(100).await?.len()));
        session.advance_clock("100 ms").await?;
    }
    assert_eq!(sent.iter().map(|(_, steps)| steps).sum::<usize>(), 100);
    let most = sent.windows(100).map(|period| period.iter().map(|(_, steps)| steps).sum::<usize>()).max();
    assert_eq!(most, Some(20), "within 10 s");
    let last = sent.iter().rev().find(|(_, steps)| *steps > 0).map(|(tick, _)| *tick);
    assert!(
        last.is_some_and(|tick| (400..=500).contains(&tick)),
        "the last went at {last:?}, 100 steps take 40 s to 50 s"
    );
    assert!(session.count("dispatches").await? <= 20, "what is older than the period is forgotten");
    drop(session);
    db.finish().await
}

/// Starts tasks of a workflow of one step with a limit of 2 for each customer.
async fn arrive_for(session: &mut Session, customers: &[&str]) -> Result<Vec<Uuid>> {
    let keys = json!({ "concurrency": { "key": "customer.id", "limit": 2 } });
    session.register(&define_with("keyed", json!([{ "name": "a", "max_attempts": 2 }]), keys)).await?;
    let mut tasks = Vec::new();
    for customer in customers {
        let context = json!({ "customer": { "id": customer } }).to_string();
        tasks.push(session.submit_one("test/keyed", &context).await?);
        session.initialize(10).await?;
    }
    Ok(tasks)
}

#[tokio::test]
async fn a_key_lets_its_limit_through_and_holds_up_nobody_else() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let tasks = arrive_for(&mut session, &["acme", "acme", "acme", "acme", "other"]).await?;
    session.dispatch(500).await?;
    let mut claimed = session.claim(10).await?;
    let ids = |steps: &[stepwell::store::ClaimedStep]| steps.iter().map(|step| step.task_id).collect::<Vec<_>>();
    assert_eq!(ids(&claimed), [tasks[0], tasks[1], tasks[4]]);
    session.dispatch(500).await?;
    assert_eq!(session.claim(10).await?.len(), 0);

    session.settle(complete(&claimed.remove(0), "1")).await?;
    session.dispatch(500).await?;
    assert_eq!(ids(&session.claim(10).await?), [tasks[2]], "one place became free");

    // An attempt that failed gives its place to who waits, and waits for one itself when it is due again.
    session.settle(failed(&claimed.remove(0), "retryable", r#""retry_after": 0"#)).await?;
    session.advance_clock("1 h").await?;
    session.dispatch(500).await?;
    assert_eq!(ids(&session.claim(10).await?), [tasks[3]]);
    assert_eq!(session.wake_due(10).await?.woken, 1);
    session.dispatch(500).await?;
    assert_eq!(session.claim(10).await?.len(), 0, "two of this customer are in work");
    assert_eq!(session.steps(tasks[1]).await?, "a enqueued 2");
    let waits = "select waits_for from stepwell.task_status where task_id = $1";
    assert!(session.of_task::<String>(waits, tasks[1]).await?.contains("wait for their turn in test"));

    // Claims that expire free the places of their attempts too.
    session.advance_clock("1 h").await?;
    assert_eq!(session.recover(10).await?.recovered, 3);
    drain(&mut session, |step| complete(step, "1")).await?;
    for task in tasks {
        assert_eq!(session.task_state(task).await?, "complete");
    }
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn what_a_person_ends_gives_up_its_place() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let tasks = arrive_for(&mut session, &["acme", "acme", "acme", "acme"]).await?;
    session.dispatch(500).await?;
    assert_eq!(session.cancel(tasks[0]).await?, "cancelled");
    assert_eq!(session.resolve(tasks[1], "a", "1").await?, "resolved");
    session.dispatch(500).await?;
    let left = session.claim(10).await?.into_iter().map(|step| step.task_id).collect::<Vec<_>>();
    assert_eq!(left, tasks[2..]);
    drop(session);
    db.finish().await
}

/// Somebody cancels a task, and has not committed when its step's turn comes: nobody waits, and when it is rolled back the
/// step goes on.
#[tokio::test]
async fn a_step_that_another_transaction_held_is_not_forgotten() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let mut other = db.session().await?;
    arrive_for(&mut session, &[]).await?;
    session.run("update stepwell.workflows set concurrency_limit = 1").await?;
    let request = r#"{"workflow": "test/keyed", "context": {"customer": {"id": "acme"}}}"#;
    let tasks: Vec<Uuid> = session.submit(&[request; 2]).await?.iter().map(|task| task.task_id).collect();
    session.initialize(10).await?;
    let first = session.claim_one().await?;
    let waiting = if first.task_id == tasks[0] { tasks[1] } else { tasks[0] };
    other.run("begin").await?;
    other.cancel(waiting).await?;
    session.settle(complete(&first, "1")).await?;
    session.dispatch(10).await?;
    assert_eq!(session.claim(10).await?.len(), 0, "it is being cancelled");
    other.run("rollback").await?;
    session.dispatch(10).await?;
    assert_eq!(session.claim_one().await?.task_id, waiting);
    drop((session, other));
    db.finish().await
}

#[tokio::test]
async fn a_key_may_be_of_any_kind_and_a_task_without_it_has_no_limit() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    arrive_for(&mut session, &[]).await?;
    let contexts = [
        json!({}),
        json!({ "customer": null }),
        json!({ "customer": { "id": null } }),
        json!({ "customer": { "id": 7 } }),
        json!({ "customer": { "id": "x".repeat(10_000) } }),
        json!({ "customer": { "id": { "deep": [1, 2] } } }),
    ];
    for context in &contexts {
        for _ in 0..3 {
            session.submit_one("test/keyed", &context.to_string()).await?;
        }
    }
    session.initialize(100).await?;
    session.dispatch(500).await?;
    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    for step in session.claim(100).await? {
        *sent.entry(step.context.chars().take(30).collect()).or_default() += 1;
    }
    let counts: Vec<usize> = sent.into_values().collect();
    assert_eq!(counts.iter().filter(|count| **count == 3).count(), 3, "{counts:?}");
    assert_eq!(counts.iter().filter(|count| **count == 2).count(), 3, "{counts:?}");
    drop(session);
    db.discard().await
}

#[tokio::test]
async fn a_step_that_waits_for_its_turn_is_ready_and_says_so() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = one_at_a_time(&db).await?;
    arrive(&mut session, 0).await?;
    let task = arrive(&mut session, 5).await?;
    let state = "select state from stepwell.step_status where task_id = $1";
    assert_eq!(session.of_task::<String>(state, task).await?, "ready");
    let waits = "select waits_for from stepwell.task_status where task_id = $1";
    assert_eq!(
        session.of_task::<String>(waits, task).await?,
        "1 steps wait for their turn in test, see stepwell.queue_status()"
    );
    let status = "select concat_ws(' ', namespace, queued, ready, in_progress, waits_for) from stepwell.queue_status()";
    assert_eq!(session.value::<String>(status).await?, "test 1 1 0 a worker");

    assert_eq!(session.cancel(task).await?, "cancelled");
    assert_eq!(session.count("ready_steps").await?, 0, "what is cancelled is withdrawn");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_paused_namespace_gets_nothing_and_says_since_when() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = one_at_a_time(&db).await?;
    arrive(&mut session, 0).await?;
    arrive(&mut session, 0).await?;
    session.run("delete from pgmq.q_test_queue").await?;
    session.run("select stepwell.pause_namespace('test')").await?;
    assert_eq!(session.dispatch(10).await?.dispatched, 0);
    let status = "select waits_for from stepwell.queue_status()";
    assert!(session.value::<String>(status).await?.starts_with("paused since 20"));
    session.run("select stepwell.resume_namespace('test')").await?;
    assert_eq!(session.dispatch(10).await?.dispatched, 1);
    drop(session);
    db.discard().await
}

#[tokio::test]
async fn no_more_than_ten_thousand_of_a_kind_are_counted() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = one_at_a_time(&db).await?;
    let status = "select concat_ws(' ', queued, ready, keyed, oldest_at = '2026-01-01') from stepwell.queue_status()";
    for (steps, expected) in [(9_999, "9999 9999 9999 t"), (2, "10000 10000 10000 t")] {
        session
            .run(&format!(
                "insert into stepwell.ready_steps (dispatch_at, task_id, position, attempt, namespace)
                 select now(), gen_random_uuid(), 0, 1, 'test' from generate_series(1, {steps});
                 insert into stepwell.keyed_steps (dispatch_at, task_id, position, attempt, admitted, key_limit, namespace, key)
                 select now(), gen_random_uuid(), 0, 1, false, 1, 'test', 'k' from generate_series(1, {steps});
                 insert into pgmq.q_test_queue (vt, enqueued_at, message)
                 select now(), '2026-01-01', '{{}}' from generate_series(1, {steps})"
            ))
            .await?;
        assert_eq!(session.value::<String>(status).await?, expected);
    }
    drop(session);
    db.discard().await
}

#[tokio::test]
async fn nothing_is_given_to_workers_while_their_results_pile_up() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = one_at_a_time(&db).await?;
    session.run("select stepwell.configure_dispatch(10000, '60 s')").await?;
    arrive_together(&mut session, "test/chain", 5_000).await?;
    let messages = "select count(*) from pgmq.q_step_results";
    while session.value::<i64>(messages).await? < 64 {
        session.dispatch(500).await?;
        let results: Vec<String> = session.claim(500).await?.iter().map(|step| complete(step, "1")).collect();
        session.report(&results).await?;
    }
    session.claim(1_000).await?;
    assert_eq!(session.dispatch(500).await?.dispatched, 0, "64 messages of results are not applied");
    session.apply(500).await?;
    assert!(session.queued("test_queue").await? > 0, "what is applied makes room");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_limit_that_is_none_is_refused() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    for (limits, state) in [
        ("'test', 0, null, null", "SW003"),
        ("'test', null, 0, '1 s'", "SW003"),
        ("'test', null, 5, null", "SW003"),
        ("'test', null, null, '1 s'", "SW003"),
        ("'test', null, 5, '-1 s'", "SW003"),
        ("'test', null, 5, '1 us'", "SW003"),
        ("'test', null, 5, '1 month'", "SW003"),
        ("'nowhere', 1, null, null", "SW006"),
    ] {
        let refused = session.run(&format!("select stepwell.limit_namespace({limits})")).await;
        assert_eq!(sqlstate(refused).as_deref(), Some(state), "{limits}");
    }
    for settings in ["0, '1 s'", "1, '-1 s'", "1, '178000000 years'", "null, '1 s'", "1, null"] {
        let refused = session.run(&format!("select stepwell.configure_dispatch({settings})")).await;
        assert_eq!(sqlstate(refused).as_deref(), Some("SW003"), "{settings}");
    }
    drop(session);
    db.finish().await
}

/// However many wait, the first ones are found by the index, and a namespace's queue by its first few rows.
#[tokio::test]
async fn dispatch_reads_as_much_as_it_sends_however_many_wait() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    session.run("select stepwell.configure_dispatch(100000, '60 s')").await?;
    for waiting in [10_000, 90_000] {
        session
            .run(&format!(
                "insert into stepwell.ready_steps (namespace, dispatch_at, task_id, position, attempt)
                 select 'test', stepwell.now() - n * interval '1 ms', gen_random_uuid(), 0, 1
                   from generate_series(1, {waiting}) n"
            ))
            .await?;
        session.run("delete from pgmq.q_test_queue").await?;
        session.run("begin").await?;
        assert_eq!(session.dispatch(500).await?.dispatched, 500);
        let sql = "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables
                    where schemaname = 'stepwell' and relname = 'ready_steps'";
        let read: i64 = session.value(sql).await?;
        assert!((500..=1_010).contains(&read), "{read} rows of {waiting} were read to send 500");
        session.run("commit").await?;
    }
    drop(session);
    db.discard().await
}
