//! `submit_tasks`: what is refused at once, ids, the user's own transaction, idempotency keys.

mod support;

use anyhow::Result;
use serde_json::json;
use support::session::sqlstate;
use support::{chain, complete, drain, TestDatabase};
use uuid::Uuid;

#[tokio::test]
async fn a_request_without_the_required_shape_is_refused_with_its_number() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let deep = |depth: usize| {
        let arrays = depth - 1;
        let context = format!(r#"{{"a": {}{}}}"#, "[".repeat(arrays), "]".repeat(arrays));
        format!(r#"{{"workflow": "test/chain", "context": {context}}}"#)
    };
    let (deepest, too_deep, far_too_deep) = (deep(100), deep(101), deep(1_001));
    let long_key = format!(r#"{{"workflow": "test/chain", "idempotency_key": "{}"}}"#, "k".repeat(256));
    for (bad, says) in [
        ("null", "must be a JSON object"),
        ("[]", "must be a JSON object"),
        ("7", "must be a JSON object"),
        (r#""workflow""#, "must be a JSON object"),
        ("{}", r#""workflow" must be"#),
        (r#"{"workflow": null}"#, r#""workflow" must be"#),
        (r#"{"workflow": ["test/chain"]}"#, r#""workflow" must be"#),
        (r#"{"workflow": "test/chain", "task_id": "7"}"#, r#""task_id" must be a uuid"#),
        (r#"{"workflow": "test/chain", "task_id": null}"#, r#""task_id" must be a uuid"#),
        (r#"{"workflow": "test/chain", "idempotency_key": 7}"#, r#""idempotency_key" must be a text"#),
        (r#"{"workflow": "test/chain", "idempotency_key": null}"#, r#""idempotency_key" must be a text"#),
        (long_key.as_str(), r#""idempotency_key" must be a text"#),
        (
            r#"{"workflow": "test/chain", "priorty": "high"}"#,
            r#"unknown key "priorty"; the keys are workflow, version"#,
        ),
        (r#"{"workflow": "test/chain", "idempotencykey": "a"}"#, r#"unknown key "idempotencykey""#),
        (r#"{"workflow": "test/chain", "tags": "vip"}"#, r#""tags" must be an array of texts"#),
        (r#"{"workflow": "test/chain", "tags": ["a", null]}"#, r#""tags" must be an array of texts"#),
        (r#"{"workflow": "test/chain", "tags": [["a"]]}"#, r#""tags" must be an array of texts"#),
        (r#"{"workflow": "test/chain", "version": 2}"#, r#""version" must be a text"#),
        (r#"{"workflow": "test/chain", "correlation_id": {}}"#, r#""correlation_id" must be a text"#),
        (too_deep.as_str(), r#""context" is nested more than 100 deep"#),
        (far_too_deep.as_str(), r#""context" is nested more than 100 deep"#),
    ] {
        let refused = session.submit(&[r#"{"workflow": "test/chain"}"#, bad]).await;
        let message = refused.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert!(message.contains("request 2: ") && message.contains(says), "{bad}: {message}");
        assert_eq!(sqlstate(refused).as_deref(), Some("SW003"), "{bad}");
    }
    assert_eq!(session.queued("task_requests").await?, 0, "all or none");
    assert!(session.submit(&[] as &[&str]).await?.is_empty());
    let nulls =
        r#"{"workflow": "test/chain", "tags": null, "version": null, "correlation_id": null, "priority": null}"#;
    assert_eq!(session.submit(&[deepest.as_str(), nulls]).await?.len(), 2);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn ids_are_kept_or_made_and_answers_come_in_order() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let mine = Uuid::now_v7();
    let bare = r#"{"workflow": "test/chain"}"#.to_owned();
    let submitted =
        session.submit(&[bare.clone(), format!(r#"{{"workflow": "test/chain", "task_id": "{mine}"}}"#), bare]).await?;
    assert!(submitted.iter().all(|submitted| submitted.created));
    assert_eq!(submitted[1].task_id, mine);
    for made in [submitted[0].task_id, submitted[2].task_id] {
        assert_eq!((made.get_version_num(), made.get_variant()), (7, uuid::Variant::RFC4122));
    }
    assert_ne!(submitted[0].task_id, submitted[2].task_id);

    let ids: Vec<Uuid> = session.column("select stepwell.uuid_v7() from generate_series(1, 1000)").await?;
    let milliseconds = |id: &Uuid| id.as_u128() >> 80;
    assert!(ids.windows(2).all(|pair| milliseconds(&pair[0]) <= milliseconds(&pair[1])), "they sort by time");
    let apart: f64 = session
        .value("select abs(extract(epoch from clock_timestamp()) * 1000
                           - ('x' || lpad(left(replace(stepwell.uuid_v7()::text, '-', ''), 12), 16, '0'))::bit(64)::bigint)::float8")
        .await?;
    assert!(apart < 60_000.0, "the time in an id is {apart} ms from now");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_task_exists_only_if_the_users_transaction_commits() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    session.run("create table orders (id int)").await?;
    let place = "insert into orders values (7);
                 select * from stepwell.submit_tasks(array['{\"workflow\": \"test/chain\"}'::jsonb])";
    session.run(&format!("begin; {place}; rollback")).await?;
    assert_eq!(drain(&mut session, |step| complete(step, "1")).await?, [""; 0]);
    session.run(&format!("begin; {place}")).await?;
    let mut orchestrator = db.session().await?;
    assert_eq!(orchestrator.initialize(10).await?.popped, 0, "not before the commit");
    session.run("commit").await?;
    assert_eq!(drain(&mut orchestrator, |step| complete(step, "1")).await?, ["a"]);
    assert_eq!((session.count("tasks").await?, session.value::<i64>("select count(*) from orders").await?), (1, 1));
    drop((session, orchestrator));
    db.finish().await
}

#[tokio::test]
async fn an_open_transaction_that_submitted_blocks_no_other_submit() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut open, mut other) = (db.session().await?, db.session().await?);
    open.register(&chain(1)).await?;
    open.run("begin").await?;
    open.submit_one("test/chain", "{}").await?;
    other.run("set lock_timeout = '1ms'").await?; // whoever waits for a lock fails
    other.submit_one("test/chain", "{}").await?;
    other.submit(&[r#"{"workflow": "test/chain", "idempotency_key": "k"}"#]).await?;
    assert_eq!(drain(&mut other, |step| complete(step, "1")).await?, ["a", "a"]);
    open.run("rollback").await?;
    drop((open, other));
    db.finish().await
}

#[tokio::test]
async fn a_submit_that_is_repeated_makes_one_task() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let id = Uuid::now_v7();
    let request = format!(r#"{{"workflow": "test/chain", "task_id": "{id}"}}"#);
    let keyed = format!(r#"{{"workflow": "test/chain", "task_id": "{}", "idempotency_key": "k"}}"#, Uuid::now_v7());
    for _ in 0..2 {
        assert_eq!(session.submit(&[&request]).await?[0].task_id, id); // its answer was lost, so it comes again
        session.submit(&[&keyed]).await?;
    }
    assert_eq!(drain(&mut session, |step| complete(step, "1")).await?, ["a", "a"], "twice in one batch");
    session.submit(&[&request]).await?;
    assert_eq!(drain(&mut session, |step| complete(step, "1")).await?, [""; 0], "and after the task has finished");
    assert_eq!(session.count("tasks").await?, 2);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_key_stands_for_the_task_that_came_first() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let keyed = |workflow: &str, key: &str| format!(r#"{{"workflow": "{workflow}", "idempotency_key": "{key}"}}"#);
    let first = session.submit(&[keyed("test/chain", "k")]).await?.remove(0);
    assert!(first.created);
    let mixed = [
        keyed("test/chain", "new"),
        keyed("test/chain", "k"),
        r#"{"workflow": "test/chain"}"#.to_owned(),
        keyed("test/chain", "new"),
        keyed("test/other", "k"),
    ];
    let answers = session.submit(&mixed).await?;
    assert_eq!(answers.iter().map(|answer| answer.created).collect::<Vec<_>>(), [true, false, true, false, true]);
    assert_eq!((answers[1].task_id, answers[3].task_id), (first.task_id, answers[0].task_id));
    assert_ne!(answers[4].task_id, first.task_id, "a key is the workflow's own");
    assert_eq!(session.queued("task_requests").await?, 4);
    drain(&mut session, |step| complete(step, "1")).await?;
    assert_eq!(
        session.submit(&[keyed("test/chain", "k")]).await?[0].task_id,
        first.task_id,
        "also when it has finished"
    );
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn of_two_racing_submits_the_second_waits_and_gets_the_first_ones_task() -> Result<()> {
    race("commit").await
}

#[tokio::test]
async fn of_two_racing_submits_the_second_wins_when_the_first_rolls_back() -> Result<()> {
    race("rollback").await
}

async fn race(end_of_first: &str) -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut observer = db.session().await?;
    observer.register(&chain(1)).await?;
    let request = [r#"{"workflow": "test/chain", "idempotency_key": "k"}"#];
    let (mut one, mut two) = (db.session().await?, db.session().await?);
    one.run("begin").await?;
    let first = one.submit(&request).await?.remove(0);
    let waiting = two.pid();
    let second = tokio::spawn(async move { two.submit(&request).await });
    observer.until_blocked(waiting, one.pid()).await?;
    one.run(end_of_first).await?;
    let second = second.await??.remove(0);

    assert!(first.created);
    assert_eq!(
        (second.created, second.task_id == first.task_id),
        (end_of_first == "rollback", end_of_first == "commit")
    );
    assert_eq!(drain(&mut observer, |step| complete(step, "1")).await?, ["a"]);
    assert_eq!(observer.task_state(second.task_id).await?, "complete");
    drop((observer, one));
    db.finish().await
}

#[tokio::test]
async fn an_id_is_stored_as_postgresql_writes_it_and_is_not_of_the_future() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let upper = Uuid::now_v7();
    let id = format!("{{{}}}", upper.to_string().to_uppercase());
    let request = json!({ "workflow": "test/chain", "context": {}, "task_id": id }).to_string();
    assert_eq!(session.submit(&[request]).await?[0].task_id, upper);
    assert_eq!(session.cancel(upper).await?, "cancelled", "it is found while it waits in the queue");

    let hours_ahead = |hours: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time after 1970");
        let time = now + std::time::Duration::from_secs(hours * 3600);
        Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, time.as_secs(), 0))
    };
    let with_id = |id: Uuid| json!({ "workflow": "test/chain", "context": {}, "task_id": id }).to_string();
    assert_eq!(session.submit(&[with_id(hours_ahead(12))]).await?.len(), 1, "a clock may be hours off");
    for id in [hours_ahead(48), Uuid::parse_str("ffffffff-ffff-7fff-bfff-ffffffffffff")?] {
        assert_eq!(sqlstate(session.submit(&[with_id(id)]).await).as_deref(), Some("SW003"));
        session.send("task_requests", &with_id(id)).await?;
    }
    session.initialize(10).await?;
    let reason = "the request has no usable task_id, a uuid of version 7";
    assert_eq!(session.dead_reasons().await?, [reason; 2]);
    drop(session);
    db.finish().await
}
