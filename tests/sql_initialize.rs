//! `initialize_tasks` and the admission of plain-SQL requests: which workflow, what is wrong with a request, root steps.

mod support;

use anyhow::Result;
use serde_json::json;
use stepwell::{Client, Workflow};
use support::runtime::{config, orchestrator, wait, worker};
use support::session::sqlstate;
use support::{chain, complete, define, define_with, diamond, drain, eventually, Session, TestDatabase};
use uuid::Uuid;

fn version(version: &str, first_step: &str) -> Workflow {
    define_with("chain", json!([{ "name": first_step }]), json!({ "version": version }))
}

async fn why(session: &mut Session, task: Uuid) -> Result<String> {
    Ok(session.of_task("select waits_for from stepwell.task_status where task_id = $1", task).await?)
}

#[tokio::test]
async fn root_steps_are_enqueued_and_the_others_wait() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session
        .register(&define(
            "two_roots",
            json!([{ "name": "a" }, { "name": "b" }, { "name": "c", "depends_on": ["a", "b"] }]),
        ))
        .await?;
    session.register(&diamond()).await?;
    let one = session.submit_one("test/two_roots", "{}").await?;
    let two = session.submit_one("test/diamond", r#"{"n": 1}"#).await?;
    let initialized = session.initialize(10).await?;
    assert_eq!((initialized.popped, initialized.initialized, initialized.dead), (2, 2, 0));
    assert_eq!((initialized.namespaces, initialized.finished), (vec!["test".to_owned()], vec![]));
    assert_eq!(session.steps(one).await?, "a enqueued, b enqueued, c pending");
    assert_eq!(session.steps(two).await?, "start enqueued, left pending, right pending, end pending");
    let counters: String = session
        .of_task(
            "select string_agg(waiting_on::text, '' order by position) from stepwell.steps where task_id = $1",
            two,
        )
        .await?;
    assert_eq!(counters, "0112");
    assert_eq!(session.of_task::<i32>("select steps_remaining from stepwell.tasks where task_id = $1", two).await?, 4);
    assert_eq!(session.queued("test_queue").await?, 3);
    assert_eq!(session.initialize(10).await?.popped, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_task_that_comes_alone_may_begin_past_the_queue() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let steps = json!([{ "name": "a" }, { "name": "b" }, { "name": "c", "depends_on": ["a", "b"] }]);
    session.register(&define("two_roots", steps)).await?;
    let task = session.submit_one("test/two_roots", r#"{"n": 1}"#).await?;
    let initialized = session.initialize_for(10, 2).await?;
    assert_eq!((initialized.initialized, initialized.namespaces.len()), (1, 0), "nobody else has to wake up");
    let names: Vec<&str> = initialized.claimed.iter().map(|step| step.name.as_str()).collect();
    assert_eq!((names, session.queued("test_queue").await?), (vec!["a", "b"], 0));
    let first = &initialized.claimed[0];
    assert_eq!((first.task_id, first.attempt, first.context.as_str()), (task, 1, r#"{"n": 1}"#));
    let sent = "select sent from stepwell.queue_metrics(1) where queue = 'test_queue'";
    assert_eq!(session.value::<i64>(sent).await?, 2, "those that passed count");
    for step in &initialized.claimed {
        session.settle(complete(step, "1")).await?; // the claims hold them
    }
    assert_eq!(session.steps(task).await?, "a complete, b complete, c enqueued");
    assert_eq!(session.claim_one().await?.name, "c");

    session.submit_one("test/two_roots", "{}").await?;
    let initialized = session.initialize_for(10, 1).await?;
    assert_eq!((initialized.claimed.len(), initialized.namespaces.len()), (1, 1), "no more than wanted");
    assert_eq!(session.claim_one().await?.name, "b");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn first_steps_go_to_the_queue_where_others_are_before_them_or_something_is_limited() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    session.run("select stepwell.configure_dispatch(1, '60 s')").await?;
    for _ in 0..2 {
        session.submit_one("test/chain", "{}").await?;
        assert_eq!(session.initialize(10).await?.initialized, 1);
    }
    assert_eq!(session.count("ready_steps").await?, 1);
    for requests in [1, 2] {
        for _ in 0..requests {
            session.submit_one("test/chain", "{}").await?;
        }
        let initialized = session.initialize_for(10, 5).await?;
        assert_eq!((initialized.initialized, initialized.claimed.len()), (requests, 0), "one is in line");
    }
    assert_eq!(session.count("ready_steps").await?, 4);

    session.widen_queues().await?;
    session.dispatch(10).await?;
    for (limit, lifted) in [
        ("limit_namespace('test', 100, null, null)", "limit_namespace('test', null, null, null)"),
        ("pause_namespace('test', 'a test')", "resume_namespace('test', 'a test')"),
    ] {
        session.run(&format!("select stepwell.{limit}")).await?;
        for requests in [1, 2] {
            for _ in 0..requests {
                session.submit_one("test/chain", "{}").await?;
            }
            let limited = session.initialize_for(10, 5).await?;
            assert_eq!((limited.initialized, limited.claimed.len()), (requests, 0), "{limit}");
        }
        session.run(&format!("select stepwell.{lifted}")).await?;
    }
    session.submit_one("test/chain", "{}").await?;
    assert_eq!(session.initialize_for(10, 5).await?.claimed.len(), 1);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn of_tasks_that_come_together_the_first_begin_past_the_queue() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let mut tasks = Vec::new();
    for priority in ["low", "urgent", "normal", "urgent"] {
        let request = json!({ "workflow": "test/chain", "context": { "of": priority }, "priority": priority });
        tasks.push(session.submit(&[request.to_string()]).await?[0].task_id);
    }
    let initialized = session.initialize_for(10, 3).await?;
    assert_eq!((initialized.popped, initialized.initialized), (4, 4));
    let begun: Vec<Uuid> = initialized.claimed.iter().map(|step| step.task_id).collect();
    assert_eq!(begun, [tasks[1], tasks[3], tasks[2]], "in the order of dispatch");
    assert_eq!(initialized.claimed[0].context, r#"{"of": "urgent"}"#);
    assert_eq!((initialized.namespaces, session.queued("test_queue").await?), (vec!["test".to_owned()], 1));
    let sent = "select sent from stepwell.queue_metrics(1) where queue = 'test_queue'";
    assert_eq!(session.value::<i64>(sent).await?, 4, "those that passed count");
    for step in &initialized.claimed {
        session.settle(complete(step, "1")).await?; // the claims hold them
    }
    assert_eq!(session.claim_one().await?.task_id, tasks[0]);

    for _ in 0..2 {
        session.submit_one("test/chain", "{}").await?;
    }
    let initialized = session.initialize_for(10, 1).await?;
    assert_eq!((initialized.initialized, initialized.claimed.len()), (2, 0), "a worker of one thread keeps the order");
    assert_eq!(session.queued("test_queue").await?, 2);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn tasks_that_come_together_begin_past_the_queue_where_they_are_of_one_namespace_and_results_do_not_wait(
) -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let other = define_with("chain", json!([{ "name": "a" }]), json!({ "namespace": "other" }));
    session.register(&other).await?;
    for workflow in ["test/chain", "other/chain"] {
        session.submit_one(workflow, "{}").await?;
    }
    let mixed = session.initialize_for(10, 5).await?;
    assert_eq!((mixed.initialized, mixed.claimed.len()), (2, 0));
    let two = async |session: &mut Session| -> Result<(i32, usize)> {
        for _ in 0..2 {
            session.submit_one("test/chain", "{}").await?;
        }
        let initialized = session.initialize_for(10, 5).await?;
        Ok((initialized.initialized, initialized.claimed.len()))
    };
    session.run("select pgmq.send('step_results', '{}') from generate_series(1, 64)").await?;
    assert_eq!(two(&mut session).await?, (2, 0));
    session.run("delete from pgmq.q_step_results").await?;
    assert_eq!(two(&mut session).await?, (2, 2));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_task_begins_with_its_submit_where_a_worker_beside_it_has_nothing_to_do() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(2)).await?;
    let id = Uuid::now_v7();
    let request =
        format!(r#"{{"workflow": "test/chain", "task_id": "{id}", "context": {{"n": 1}}, "idempotency_key": "k"}}"#);
    let begun = session.begin(&request, 5).await?;
    assert_eq!((begun.task_id, begun.created, begun.initialized.initialized), (id, true, 1));
    let [step] = &begun.initialized.claimed[..] else { panic!("{begun:?}") };
    assert_eq!((step.task_id, step.attempt, step.context.as_str()), (id, 1, r#"{"n": 1}"#));
    for queue in ["task_requests", "test_queue"] {
        let sent = format!("select sent from stepwell.queue_metrics(1) where queue = '{queue}'");
        assert_eq!((session.queued(queue).await?, session.value::<i64>(&sent).await?), (0, 1), "it passed {queue}");
    }

    for repeated in [request.clone(), request.replace("idempotency_key", "correlation_id")] {
        let again = session.begin(&repeated, 5).await?; // after a commit whose answer was lost
        assert_eq!((again.task_id, again.created, again.initialized.claimed.len()), (id, true, 0));
    }
    let other = request.replace(&id.to_string(), &Uuid::now_v7().to_string());
    let other = session.begin(&other, 5).await?;
    assert_eq!((other.task_id, other.created, other.initialized.popped), (id, false, 0), "the key is taken");
    let repeated = session.initialize(10).await?;
    assert_eq!((repeated.popped, repeated.initialized), (1, 0), "of the two repeated, the one without a key");
    session.settle(complete(step, "1")).await?; // the claim holds it
    assert_eq!(session.steps(id).await?, "a complete, b enqueued");
    assert_eq!(session.count("tasks").await?, 1);
    drop(session);
    db.finish().await
}

fn with_id(request: &str) -> String {
    request.replacen('{', &format!(r#"{{"task_id": "{}", "#, Uuid::now_v7()), 1)
}

#[tokio::test]
async fn a_request_that_is_not_that_simple_stands_in_the_queue() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.widen_queues().await?;
    session.register(&chain(1)).await?;
    session.register(&with_schema()).await?;
    session.register(&define("large", (0..101).map(|n| json!({ "name": format!("s{n}") })).collect())).await?;
    let requests = [
        (r#"{"workflow": "test/large"}"#, "in_progress"),
        (r#"{"workflow": "test/strict", "context": {"n": "x"}}"#, "pending"),
        (r#"{"workflow": "test/chain", "priority": "odd"}"#, "error"),
        (r#"{"workflow": "test/chain", "context": []}"#, "error"),
    ];
    for (request, state) in requests {
        let begun = session.begin(&with_id(request), 5).await?;
        assert!(begun.created && begun.initialized.popped == 0 && begun.initialized.claimed.is_empty(), "{begun:?}");
        assert_eq!(session.initialize(10).await?.popped, 1);
        assert_eq!(session.task_state(begun.task_id).await?, state, "{request}");
    }
    session.begin(&with_id(r#"{"workflow": "test/unknown"}"#), 5).await?;
    assert_eq!(session.initialize(10).await?.dead, 1);

    let first = session.submit_one("test/chain", "{}").await?;
    let begun = session.begin(&with_id(r#"{"workflow": "test/chain"}"#), 5).await?;
    assert_eq!(begun.initialized.popped, 0, "another came before it");
    assert_eq!(session.initialize(1).await?.popped, 1);
    assert_eq!(session.task_state(first).await?, "in_progress");
    assert_eq!(session.initialize(10).await?.popped, 1);
    session.run("select stepwell.pause_namespace('test', 'a test')").await?;
    let paused = session.begin(&with_id(r#"{"workflow": "test/chain"}"#), 5).await?.initialized;
    assert_eq!((paused.initialized, paused.claimed.len()), (1, 0), "it waits as others do");
    session.run("select stepwell.resume_namespace('test', 'a test')").await?;
    session.run("select stepwell.limit_namespace('test', 1000, null, null)").await?;
    let limited = session.begin(&with_id(r#"{"workflow": "test/chain"}"#), 5).await?.initialized;
    assert_eq!((limited.initialized, limited.claimed.len(), session.count("ready_steps").await?), (1, 0, 0));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn the_batch_is_a_limit_and_the_oldest_go_first() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let mut tasks = Vec::new();
    for _ in 0..5 {
        tasks.push(session.submit_one("test/chain", "{}").await?);
    }
    assert_eq!(session.initialize(2).await?.popped, 2);
    let known: Vec<Uuid> = session.column("select task_id from stepwell.tasks order by created_at").await?;
    assert_eq!(known, tasks[..2]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn while_steps_wait_for_their_places_one_at_a_time_makes_tasks() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, mut other) = (db.session().await?, db.session().await?);
    session.register(&chain(1)).await?;
    for _ in 0..4 {
        session.submit_one("test/chain", "{}").await?;
    }
    session.run("begin").await?;
    assert_eq!(session.initialize(1).await?.popped, 1);
    assert_eq!(other.initialize(1).await?.popped, 1, "nothing waits");
    session.run("commit").await?;

    session.run("select stepwell.configure_dispatch(1, '60 s')").await?;
    session.run("begin").await?;
    assert_eq!(session.initialize(1).await?.popped, 1);
    assert_eq!(session.count("ready_steps").await?, 1);
    session.run("commit").await?;
    session.run("begin").await?;
    assert_eq!(session.initialize(1).await?.popped, 1);
    other.submit_one("test/chain", "{}").await?;
    assert_eq!(other.initialize(1).await?.popped, 0, "the other is at it");
    session.run("commit").await?;
    assert_eq!(other.initialize(1).await?.popped, 1);
    drop((session, other));
    db.finish().await
}

#[tokio::test]
async fn a_task_runs_the_version_it_asks_for_or_the_newest() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    for workflow in [version("2", "second"), version("10", "tenth"), version("1", "first")] {
        session.register(&workflow).await?; // the newest is the last registered, whatever it is called
    }
    let newest = session.submit_one("test/chain", "{}").await?;
    let explicit = session.submit(&[r#"{"workflow": "test/chain", "version": "10"}"#]).await?[0].task_id;
    session.initialize(10).await?;
    assert_eq!(session.steps(newest).await?, "first enqueued");
    assert_eq!(session.steps(explicit).await?, "tenth enqueued");
    session.register(&version("11", "eleventh")).await?;
    assert_eq!(session.steps(newest).await?, "first enqueued", "a task keeps its version");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_registered_version_is_immutable() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, mut other) = (db.session().await?, db.session().await?);
    let id = session.register(&version("1", "a")).await?;
    assert_eq!(session.register(&version("1", "a")).await?, id);
    assert_eq!(support::session::sqlstate(session.register(&version("1", "b")).await).as_deref(), Some("SW002"));

    // Two processes that start at once.
    session.run("begin").await?;
    let first = session.register(&version("2", "a")).await?;
    let waiting = other.pid();
    let second = tokio::spawn(async move { other.register(&version("2", "a")).await });
    db.session().await?.until_blocked(waiting, session.pid()).await?;
    session.run("commit").await?;
    assert_eq!(second.await??, first);
    drop(session);
    db.finish().await
}

/// Who locked the table again would wait for who uses it, and those for him.
#[tokio::test]
async fn of_two_that_make_a_queue_at_once_the_second_does_not_touch_its_table() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, mut other) = (db.session().await?, db.session().await?);
    let make = "select stepwell.create_queue('late_queue')";
    session.run("begin").await?;
    session.run(make).await?;
    let waiting = other.pid();
    let second = tokio::spawn(async move {
        other.run("begin").await?;
        other.run(make).await?;
        let locks = "select count(*) from pg_locks l join pg_class c on c.oid = l.relation
                      where l.pid = pg_backend_pid() and c.relname like 'q\\_late\\_queue%' and l.mode <> 'AccessShareLock'";
        let locks: i64 = other.value(locks).await?;
        other.run("commit").await?;
        anyhow::Ok(locks)
    });
    db.session().await?.until_blocked(waiting, session.pid()).await?;
    session.run("commit").await?;
    assert_eq!(second.await??, 0);
    assert_eq!(session.queued("late_queue").await?, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_workflow_stays_as_long_as_it_has_tasks() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    session.submit_one("test/chain", "{}").await?;
    session.initialize(1).await?;
    let refused = session.run("delete from stepwell.workflows").await;
    assert_eq!(sqlstate(refused).as_deref(), Some("23503"));
    for table in ["pgmq.q_test_queue", "stepwell.steps", "stepwell.tasks"] {
        session.run(&format!("delete from {table}")).await?;
    }
    assert_eq!(session.run("delete from stepwell.workflows").await?, 1);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_request_for_an_unknown_workflow_is_a_dead_letter() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    for (workflow, extra) in [
        ("test/unknown", ""),
        ("unknown/chain", ""),
        ("chain", ""),
        ("", ""),
        ("/", ""),
        ("test/chain/more", ""),
        ("test/chain", r#", "version": "2""#),
        ("test/chain", r#", "version": 1.5"#),
    ] {
        let id = Uuid::now_v7();
        session.send("task_requests", &format!(r#"{{"task_id": "{id}", "workflow": "{workflow}"{extra}}}"#)).await?;
        let initialized = session.initialize(10).await?;
        assert_eq!((initialized.popped, initialized.dead), (1, 1), "{workflow}{extra}");
        let reason = session.dead_reasons().await?.pop().unwrap_or_default();
        assert!(reason.starts_with(&format!(r#"unknown workflow "{workflow}""#)), "{reason}");
    }
    assert_eq!(session.count("tasks").await?, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn garbage_goes_to_the_dead_letters_and_the_rest_of_the_batch_becomes_tasks() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let queue = "task_requests";
    let first = session.submit_one("test/chain", "{}").await?;
    let garbage = [
        "null",
        "7",
        "true",
        "[]",
        r#""priority""#,
        r#"[["context"], {"workflow": "test/chain"}]"#,
        "{}",
        r#"{"workflow": "test/chain"}"#,
        r#"{"workflow": "test/chain", "task_id": null}"#,
        r#"{"workflow": "test/chain", "task_id": {"a": []}}"#,
        r#"{"workflow": {"name": "test/chain"}, "task_id": "01a20fae-a54b-79ea-b30a-3206635718b2"}"#,
    ];
    for message in garbage {
        session.send(queue, message).await?;
    }
    session.run(&format!("insert into pgmq.q_{queue} (vt, message) values (clock_timestamp(), null)")).await?;
    let last = session.submit_one("test/chain", "{}").await?;

    let initialized = session.initialize(100).await?;
    assert_eq!((initialized.initialized, initialized.dead), (2, garbage.len() as i32 + 1));
    assert_eq!(session.dead_reasons().await?.len(), garbage.len() + 1);
    for task in [first, last] {
        assert_eq!(session.steps(task).await?, "a enqueued");
    }
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_bad_request_for_a_known_workflow_is_a_task_in_error_that_says_why() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    for (members, says) in [
        (r#""context": [1]"#, "context is not a JSON object"),
        (r#""context": "text""#, "context is not a JSON object"),
        (r#""context": null"#, "context is not a JSON object"),
        (r#""priority": "soon""#, r#"priority "soon" is none of"#),
        (r#""priority": 11"#, "priority 11 is none of"),
        (r#""priority": 0.5"#, "priority 0.5 is none of"),
        (r#""priority": 1e300"#, "is none of"),
        (r#""priority": {"level": 1}"#, r#"priority {"level": 1} is none of"#),
    ] {
        let task = session.submit(&[format!(r#"{{"workflow": "test/chain", {members}}}"#)]).await?[0].task_id;
        let initialized = session.initialize(10).await?;
        assert_eq!((initialized.rejected, initialized.finished), (1, vec![task]), "{members}");
        assert_eq!(session.task_state(task).await?, "error");
        let reason = why(&mut session, task).await?;
        assert!(reason.contains(says), "{members}: {reason}");
    }
    assert_eq!(drain(&mut session, |step| complete(step, "1")).await?, [""; 0]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn odd_but_harmless_members_of_a_message_do_no_harm() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    for members in [
        r#""priority": null"#,
        r#""tags": null"#,
        r#""tags": "one""#,
        r#""tags": [1, null, {"a": []}]"#,
        r#""correlation_id": {"a": 1}, "trace_context": 7"#,
        r#""validated": [], "unknown": "member""#,
    ] {
        let id = Uuid::now_v7();
        session
            .send("task_requests", &format!(r#"{{"task_id": "{id}", "workflow": "test/chain", {members}}}"#))
            .await?;
        assert_eq!(session.initialize(10).await?.initialized, 1, "{members}");
    }
    assert_eq!(drain(&mut session, |step| complete(step, "1")).await?.len(), 6);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_task_keeps_what_its_request_says() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let keys = json!({ "priority": "low", "timeout": 90 });
    session.register(&define_with("chain", json!([{ "name": "a" }]), keys)).await?;
    let request = r#"{"workflow": "test/chain", "priority": "urgent", "idempotency_key": "k", "correlation_id": "c",
                      "tags": ["x", "y"], "context": {"price": 1.10, "big": 18446744073709551616}}"#;
    let told = session.submit(&[request]).await?[0].task_id;
    let plain = session.submit_one("test/chain", "{}").await?;
    session.initialize(10).await?;
    let row =
        "select concat_ws(' ', state, priority, idempotency_key, correlation_id, tags, context, deadline - created_at)
                 from stepwell.tasks where task_id = $1";
    assert_eq!(
        session.of_task::<String>(row, told).await?,
        r#"in_progress 10 k c {x,y} {"big": 18446744073709551616, "price": 1.10} 00:01:30"#
    );
    assert_eq!(session.of_task::<String>(row, plain).await?, "in_progress -5 {} 00:01:30");
    for (name, level) in [("low", -5), ("normal", 0), ("high", 5), ("urgent", 10), ("-10", -10), ("7", 7)] {
        assert_eq!(session.value::<i16>(&format!("select stepwell.priority_level('{name}')")).await?, level);
    }
    drop(session);
    db.finish().await
}

fn with_schema() -> Workflow {
    let schema = json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } });
    define_with(
        "strict",
        json!([{ "name": "a" }, { "name": "b", "depends_on": "a" }]),
        json!({ "input_schema": schema }),
    )
}

#[tokio::test]
async fn a_context_that_nobody_checked_waits_for_an_orchestrator() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&with_schema()).await?;
    let unchecked = session.submit_one("test/strict", r#"{"n": "x"}"#).await?;
    let digest = with_schema().digest;
    let checked = session
        .submit(&[format!(r#"{{"workflow": "test/strict", "context": {{"n": 1}}, "validated": "{digest}"}}"#)])
        .await?[0]
        .task_id;
    let initialized = session.initialize(10).await?;
    assert_eq!((initialized.initialized, initialized.unvalidated), (1, 1));
    assert_eq!(
        (session.task_state(unchecked).await?, session.steps(unchecked).await?),
        ("pending".into(), "a pending, b pending".into())
    );
    assert!(why(&mut session, unchecked).await?.contains("input schema"));
    assert_eq!(session.steps(checked).await?, "a enqueued, b pending");
    assert_eq!(session.initialize(10).await?.unvalidated, 1, "also when its orchestrator died meanwhile");

    assert_eq!(session.cancel(unchecked).await?, "cancelled");
    assert_eq!(session.initialize(10).await?.unvalidated, 0);
    drop(session);
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_orchestrator_admits_good_contexts_and_rejects_bad_ones() -> Result<()> {
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[with_schema()]).await?;
    let handlers = ["a", "b"].iter().fold(stepwell::worker::Handlers::new(), |handlers, name| {
        handlers.with(*name, |_: std::sync::Arc<stepwell::store::ClaimedStep>| async { Ok("1".to_owned()) })
    });
    let worker = worker(orchestrator.database(), 2, handlers).await?;

    let mut session = db.session().await?;
    let requests: Vec<String> = (0..60)
        .map(|index| {
            let context = ["{\"n\": 1}", "{\"n\": \"x\"}", "{}"][index % 3];
            format!(r#"{{"workflow": "test/strict", "context": {context}, "validated": "of another version"}}"#)
        })
        .collect();
    let submitted = session.submit(&requests).await?;
    let tasks: Vec<Uuid> = submitted.iter().map(|submitted| submitted.task_id).collect();
    wait(&client, &tasks).await?;
    for (index, task) in tasks.iter().enumerate() {
        match index % 3 {
            0 => assert_eq!(session.task_state(*task).await?, "complete"),
            kind => {
                assert_eq!(
                    (session.task_state(*task).await?, session.steps(*task).await?),
                    ("error".into(), "a pending, b pending".into())
                );
                let reason = why(&mut session, *task).await?;
                assert!(reason.contains(["", "context.n", "\"n\" is a required property"][kind]), "{reason}");
            }
        }
    }
    eventually("all are checked", async || Ok((session.count("unvalidated_tasks").await? == 0).then_some(()))).await?;
    drop(session);
    worker.stop(support::runtime::PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test]
async fn requests_that_came_twice_or_have_a_task_leave_the_others_alone() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(2)).await?;
    let there = session.submit_one("test/chain", "{}").await?;
    session.initialize(10).await?;
    let (new, other) = (Uuid::now_v7(), Uuid::now_v7());
    for task in [there, new, new, other] {
        let request = json!({ "workflow": "test/chain", "context": {}, "task_id": task });
        session.send("task_requests", &request.to_string()).await?;
    }
    session.send("task_requests", r#"{"workflow": "test/none", "context": {}}"#).await?;
    let initialized = session.initialize(10).await?;
    assert_eq!((initialized.popped, initialized.initialized, initialized.dead), (5, 2, 1));
    assert_eq!((session.count("tasks").await?, session.count("steps").await?), (3, 6));
    assert_eq!(session.queued("test_queue").await?, 3);
    for task in [there, new] {
        let request = json!({ "workflow": "test/chain", "context": {}, "task_id": task });
        session.send("task_requests", &request.to_string()).await?;
    }
    let initialized = session.initialize(10).await?;
    assert_eq!((initialized.popped, initialized.initialized), (2, 0), "nothing is left of them");
    drop(session);
    db.finish().await
}
