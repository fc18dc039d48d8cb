//! What operating needs: pausing namespaces, replaying dead letters, retention.

mod support;

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use stepwell::store::{Removed, Store};
use support::session::sqlstate;
use support::{chain, complete, define, drain, failed, Session, TestDatabase};
use uuid::Uuid;

async fn pauses(session: &mut Session, call: &str) -> Result<bool> {
    Ok(session.value(&format!("select stepwell.{call}('test', 'a test', 'a tester')")).await?)
}

#[tokio::test]
async fn a_paused_namespace_gives_nothing_until_it_is_resumed() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&chain(3)).await?;
    let running = session.claim_one().await?;
    assert!(pauses(&mut session, "pause_namespace").await?);
    assert!(!pauses(&mut session, "pause_namespace").await?, "it is paused already");

    session.settle(complete(&running, "1")).await?;
    assert_eq!(session.steps(task).await?, "a complete, b enqueued, c pending", "what ran goes on to its end");
    assert!(session.claim(10).await?.is_empty());
    let waits = "select waits_for from stepwell.task_status where task_id = $1";
    assert!(session.of_task::<String>(waits, task).await?.starts_with("the namespace test has been paused since 20"));

    assert!(pauses(&mut session, "resume_namespace").await?);
    assert!(!pauses(&mut session, "resume_namespace").await?);
    drain(&mut session, |step| complete(step, "1")).await?;
    assert_eq!(session.task_state(task).await?, "complete");
    let events: Vec<String> = session
        .column("select concat_ws(' ', namespace, kind, actor, reason) from stepwell.task_events order by event_id")
        .await?;
    assert_eq!(events, ["test pause a tester a test", "test resume a tester a test"]);

    let unknown = session.value::<bool>("select stepwell.pause_namespace('nowhere')").await;
    assert_eq!(sqlstate(unknown).as_deref(), Some("SW006"));
    drop(session);
    db.finish().await
}

/// Replays all dead letters. Returns how many were put back.
async fn replay(session: &mut Session) -> Result<usize> {
    let sql = "select stepwell.replay_dead_letters(array(select dead_letter_id from stepwell.dead_letters), 'a test', 'a tester')";
    Ok(session.value::<Vec<i64>>(sql).await?.len())
}

#[tokio::test]
async fn a_dead_request_is_replayed_once_its_workflow_is_known() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.submit_one("test/chain", "{}").await?;
    assert_eq!(session.initialize(10).await?.dead, 1);
    assert_eq!(replay(&mut session).await?, 1);
    assert_eq!(session.initialize(10).await?.dead, 1, "it is still unknown, so it comes back");

    session.register(&chain(1)).await?;
    assert_eq!(replay(&mut session).await?, 1);
    assert_eq!(session.count("dead_letters").await?, 0);
    assert_eq!(drain(&mut session, |step| complete(step, "1")).await?, ["a"]);
    assert_eq!(session.task_state(task).await?, "complete");
    let event: String = session
        .of_task("select concat_ws(' ', kind, actor, reason, details ->> 'queue') from stepwell.task_events where task_id = $1 limit 1", task)
        .await?;
    assert_eq!(event, "replay a tester a test task_requests");
    assert_eq!(replay(&mut session).await?, 0);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn dead_letters_go_back_to_the_queues_that_they_came_from() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    for queue in ["task_requests", "step_results", "test_queue"] {
        session.send(queue, r#"{"garbage": [1, "two", null]}"#).await?;
        session.send(queue, "null").await?;
    }
    session.initialize(10).await?;
    session.claim(10).await?;
    session.apply(10).await?;
    assert_eq!(session.count("dead_letters").await?, 6);
    assert_eq!(replay(&mut session).await?, 6);
    for queue in ["task_requests", "step_results", "test_queue"] {
        assert_eq!(session.queued(queue).await?, 2, "{queue}");
    }
    session.initialize(10).await?;
    session.claim(10).await?;
    session.apply(10).await?;
    assert_eq!(session.count("dead_letters").await?, 6, "they are garbage still");
    drop(session);
    db.finish().await
}

/// One sweep in batches of `batch`. Returns how many calls it took and how many tasks it removed.
async fn sweep(session: &mut Session, batch: i32, finished: &str, failed: &str) -> Result<(usize, i32)> {
    let (mut after, mut calls, mut removed) = ("null".to_owned(), 0, 0);
    loop {
        let age = |age: &str| if age.is_empty() { "null".to_owned() } else { format!("interval '{age}'") };
        let sql = format!(
            "select * from stepwell.remove_finished_tasks({after}, {batch}, {}, {})",
            age(finished),
            age(failed)
        );
        let outcome: Removed = session.row(&format!("{sql} where $1 is not null"), Uuid::nil()).await?;
        calls += 1;
        removed += outcome.removed;
        match outcome.last_id {
            Some(id) if outcome.looked_at == batch => after = format!("'{id}'"),
            _ => return Ok((calls, removed)),
        }
    }
}

#[tokio::test]
async fn old_finished_tasks_go_with_all_that_belongs_to_them() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    session.register(&define("bad", json!([{ "name": "fails" }]))).await?;
    session.submit(&[r#"{"workflow": "test/chain", "idempotency_key": "k"}"#]).await?;
    for _ in 0..9 {
        session.submit_one("test/chain", "{}").await?;
    }
    let in_error = session.submit_one("test/bad", "{}").await?;
    drain(&mut session, |step| match step.name.as_str() {
        "fails" => failed(step, "permanent", ""),
        _ => complete(step, "1"),
    })
    .await?;
    let cancelled = session.submit_one("test/chain", "{}").await?;
    session.cancel(cancelled).await?;
    let open = session.submit_one("test/chain", "{}").await?;
    session.initialize(10).await?;

    assert_eq!(sweep(&mut session, 4, "1 day", "2 days").await?.1, 0, "nothing is old");
    session.advance_clock("25 h").await?;
    assert_eq!(sweep(&mut session, 4, "1 day", "2 days").await?, (4, 11));
    assert_eq!(session.task_state(in_error).await?, "error");
    assert_eq!(session.task_state(open).await?, "in_progress");
    for (table, rows) in [("tasks", 2), ("steps", 2), ("step_attempts", 1), ("task_events", 0), ("idempotency_keys", 0)]
    {
        assert_eq!(session.count(table).await?, rows, "{table}");
    }

    session.advance_clock("24 h").await?;
    assert_eq!(sweep(&mut session, 100, "1 day", "").await?, (1, 0), "what failed may be kept for ever");
    assert_eq!(sweep(&mut session, 100, "", "").await?, (1, 0));
    assert_eq!(sweep(&mut session, 100, "", "2 days").await?, (1, 1));
    assert_eq!(session.column::<Uuid>("select task_id from stepwell.tasks").await?, [open]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn nobody_waits_for_the_removal_and_it_waits_for_nobody() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(session.submit_one("test/chain", "{}").await?);
    }
    drain(&mut session, |step| complete(step, "1")).await?;
    session.advance_clock("25 h").await?;
    let mut other = db.session().await?;
    other.run("begin").await?;
    other.of_task::<Uuid>("select task_id from stepwell.tasks where task_id = $1 for update", tasks[1]).await?;
    session.run("set lock_timeout = '1ms'").await?;
    assert_eq!(sweep(&mut session, 10, "1 day", "1 day").await?.1, 2, "the one that is locked stays");
    other.run("commit").await?;
    assert_eq!(sweep(&mut session, 10, "1 day", "1 day").await?.1, 1);
    drop((session, other));
    db.finish().await
}

#[tokio::test]
async fn old_dead_letters_go_with_the_keys_of_their_requests() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.submit(&[r#"{"workflow": "test/unknown", "idempotency_key": "k"}"#]).await?;
    session.send("step_results", "[1]").await?;
    session.initialize(10).await?;
    session.apply(10).await?;
    assert_eq!(session.count("dead_letters").await?, 2);
    let remove = "select stepwell.remove_dead_letters(10, interval '1 day')";
    assert_eq!(session.value::<i32>(remove).await?, 0);
    session.advance_clock("25 h").await?;
    assert_eq!(session.value::<i32>(remove).await?, 2);
    assert_eq!((session.count("dead_letters").await?, session.count("idempotency_keys").await?), (0, 0));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn what_there_is_to_tell_of_tasks_that_end_is_found_by_key_however_few_there_were() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&chain(1)).await?;
    let step = session.claim_one().await?;
    session.settle(complete(&step, "1")).await?;
    let told =
        format!("select workflow || ' ' || state || ' ' || (ms between 0 and 60000) from stepwell.finished_tasks(array['{task}'::uuid])");
    for _ in 0..10 {
        assert_eq!(session.column::<String>(&told).await?, ["test/chain complete true"]);
    }
    assert_eq!(
        session.column::<String>(&format!("select coalesce(step, error_class, error, attempts::text, 'nothing') from stepwell.finished_tasks(array['{task}'::uuid])")).await?,
        ["nothing"]
    );
    session.submit(&vec![r#"{"workflow": "test/chain"}"#; 500]).await?;
    session.initialize(500).await?;
    session.run("begin").await?;
    let all =
        "select count(*) from stepwell.finished_tasks(array(select gen_random_uuid() from generate_series(1, 500)))";
    assert_eq!(session.value::<i64>(all).await?, 0);
    let scans = "select seq_scan from pg_stat_xact_user_tables where relid = 'stepwell.tasks'::regclass";
    assert_eq!(session.value::<i64>(scans).await?, 0);
    session.run("commit").await?;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn events_that_belong_to_no_task_are_removed_in_time() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    session.set_clock("2030-01-01 12:00:00+00").await?;
    session.run("select stepwell.pause_namespace('test'); select stepwell.resume_namespace('test')").await?;
    session.send("task_requests", &format!(r#"{{"workflow": "test/none", "task_id": "{}"}}"#, Uuid::now_v7())).await?;
    session.initialize(1).await?;
    session.run("select stepwell.replay_dead_letters(array(select dead_letter_id from stepwell.dead_letters))").await?;
    let task = session.submit_one("test/chain", "{}").await?;
    session.cancel(task).await?;
    assert_eq!(session.count("task_events").await?, 4);
    let remove = "select stepwell.remove_events(10, interval '1 day')";
    assert_eq!(session.value::<i32>(remove).await?, 0);
    session.advance_clock("25 hours").await?;
    assert_eq!(session.value::<i32>(remove).await?, 3);
    assert_eq!(
        session.column::<String>("select kind from stepwell.task_events").await?,
        ["cancel"],
        "it goes with its task"
    );
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_cancelled_task_that_a_worker_is_at_is_removed_when_that_has_reported() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let task = session.start(&chain(1)).await?;
    let step = session.claim_one().await?;
    session.cancel(task).await?;
    let remove = "select removed from stepwell.remove_finished_tasks(null, 10, interval '-1 s', interval '-1 s')";
    assert_eq!(session.value::<i32>(remove).await?, 0);
    session.report(&[complete(&step, "1")]).await?;
    assert_eq!(session.apply(10).await?.stale, 1);
    assert_eq!(session.value::<i32>(remove).await?, 1);
    assert_eq!((session.count("tasks").await?, session.count("dead_letters").await?), (0, 0));
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn an_event_keeps_the_role_beside_who_it_says_it_was() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let task = session.submit_one("test/chain", "{}").await?;
    session.run(&format!("select stepwell.cancel_task('{task}', 'a reason', 'somebody else')")).await?;
    let who = session
        .of_task::<String>("select actor || ' ' || database_user from stepwell.task_events where task_id = $1", task)
        .await?;
    let role = session.value::<String>("select session_user::text").await?;
    assert_eq!(who, format!("somebody else {role}"));
    let store = Store::connect(&db.url(), 2, Duration::from_secs(10)).await?;
    let events = store.find_events(task).await?;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].actor.as_deref(), events[0].database_user.as_str()), (Some("somebody else"), role.as_str()));
    store.close().await;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn only_a_database_for_tests_lets_a_session_move_the_clock() -> Result<()> {
    let db = TestDatabase::empty().await?;
    let store = Store::connect(&db.url(), 2, Duration::from_secs(10)).await?;
    store.migrate().await?;
    store.close().await;
    let mut session = db.session().await?;
    let moved = "select stepwell.now() < '2002-01-01'";
    session.set_clock("2001-01-01").await?;
    assert!(!session.value::<bool>(moved).await?);
    session.run("select stepwell.use_fake_clock()").await?;
    assert!(session.value::<bool>(moved).await?);
    drop(session);
    db.finish().await
}

/// As test suites clean up between two tests.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_and_settings_outlast_the_truncation_of_all_tables() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&define("first", json!([{ "name": "a" }]))).await?;
    session.register(&chain(2)).await?;
    session.run("select stepwell.configure_dispatch(50, interval '7 s')").await?;
    let definitions = "select string_agg(w::text || s::text, ';' order by w.workflow_id, s.position)
                         from stepwell.workflows w join stepwell.workflow_steps s using (workflow_id)";
    let before: String = session.value(definitions).await?;
    let tables = "select string_agg(format('stepwell.%I', tablename), ', ' order by tablename ORDER) from pg_tables
                   where schemaname = 'stepwell' and tablename <> '_sqlx_migrations'";
    for order in ["asc", "desc"] {
        let tables: String = session.value(&tables.replace("ORDER", order)).await?;
        session.submit_one("test/chain", "{}").await?;
        session.initialize(1).await?;
        session.run(&format!("truncate {tables} restart identity cascade")).await?;
        assert_eq!(session.value::<String>(definitions).await?, before);
        assert_eq!(session.count("tasks").await?, 0);
        let settings = "select queue_window || ' ' || boost from stepwell.dispatch_settings";
        assert_eq!(session.value::<String>(settings).await?, "50 00:00:07");
    }
    session.run("delete from stepwell.dispatch_settings; truncate stepwell.workflow_steps; select pgmq.purge_queue('test_queue')").await?;
    assert_eq!((session.count("dispatch_settings").await?, session.value::<String>(definitions).await?), (1, before));
    let new = session.register(&define("second", json!([{ "name": "a" }]))).await?;
    assert_eq!(new, 3, "ids that workers remember are not used again");
    let task = session.submit_one("test/chain", "{}").await?;
    drain(&mut session, |step| complete(step, "1")).await?;
    assert_eq!(session.task_state(task).await?, "complete");
    drop(session);
    db.finish().await
}
