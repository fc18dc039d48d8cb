//! A message that makes PostgreSQL fail, whatever the reason, is alone in the dead letters in the end. The failures here
//! are made by triggers: no message is known that the functions cannot handle.

mod support;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use stepwell::store::ClaimedStep;
use stepwell::worker::Handlers;
use stepwell::Client;
use support::runtime::{config, orchestrator, request, step, wait, worker, PATIENCE};
use support::session::sqlstate;
use support::{chain, complete, eventually, Session, TestDatabase};
use uuid::Uuid;

/// From here on a task with `poison` in its context cannot be written, a result `"poison"` cannot be stored, and a task
/// with `unclaimable` in its context cannot be claimed.
async fn poison(session: &mut Session) -> Result<()> {
    session
        .run(
            "create function public.refuse() returns trigger language plpgsql as
               'begin raise exception ''poisoned''; end';
             create trigger refuse before insert on stepwell.tasks
               for each row when (new.context ? 'poison') execute function public.refuse();
             create trigger refuse before update on stepwell.steps
               for each row when (new.result = '\"poison\"') execute function public.refuse();
             create function public.refuse_claim() returns trigger language plpgsql as
               'begin
                  if exists (select from stepwell.tasks t
                              where t.task_id = any (new.task_ids) and t.context ? ''unclaimable'') then
                    raise exception ''poisoned'';
                  end if;
                  return new;
                end';
             create trigger refuse before insert on stepwell.claims for each row execute function public.refuse_claim()",
        )
        .await?;
    Ok(())
}

/// Buries the oldest message of a queue, unless it can be handled, as processes do.
async fn bury(session: &mut Session, queue: &str) -> Result<()> {
    let call = format!("select stepwell.bury_message('{queue}')");
    if let Some(problem) = session.value::<Option<String>>(&call).await? {
        let call = format!("select stepwell.bury_message('{queue}', '{problem}', '{problem}')");
        assert_eq!(session.value::<Option<String>>(&call).await?, None);
    }
    Ok(())
}

async fn two_results(session: &mut Session, first: &str) -> Result<Vec<Uuid>> {
    session.register(&chain(1)).await?;
    let mut tasks = Vec::new();
    for result in [first, "1"] {
        tasks.push(session.submit_one("test/chain", "{}").await?);
        session.initialize(1).await?;
        let step = session.claim_one().await?;
        session.report(&[complete(&step, result)]).await?;
    }
    Ok(tasks)
}

#[tokio::test]
async fn a_result_that_cannot_be_applied_is_buried_and_its_step_ends_in_error() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    poison(&mut session).await?;
    let tasks = two_results(&mut session, r#""poison""#).await?;
    assert!(session.apply(1).await.is_err());
    assert_eq!(session.queued("step_results").await?, 2, "a batch that fails leaves everything as it was");

    bury(&mut session, "step_results").await?;
    assert_eq!(session.dead_reasons().await?, ["poisoned"]);
    assert_eq!(
        (session.task_state(tasks[0]).await?, session.steps(tasks[0]).await?),
        ("error".into(), "a error".into())
    );
    let told: String = session.value("select kind || ': ' || message from stepwell.step_attempts").await?;
    assert_eq!(told, "permanent: the result cannot be applied: poisoned");
    assert_eq!(session.apply(1).await?.finished, [tasks[1]]);
    bury(&mut session, "step_results").await?; // nothing is left
    assert_eq!(session.count("dead_letters").await?, 1);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_bad_result_does_not_take_those_of_its_report_with_it() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    poison(&mut session).await?;
    session.register(&chain(1)).await?;
    let request = r#"{"workflow": "test/chain", "context": {}}"#;
    let tasks: Vec<Uuid> = session.submit(&[request; 3]).await?.iter().map(|submitted| submitted.task_id).collect();
    session.initialize(10).await?;
    let results = ["1", r#""poison""#, "3"];
    let steps = session.claim(10).await?;
    let reports: Vec<String> = steps.iter().zip(results).map(|(step, result)| complete(step, result)).collect();
    assert_eq!(session.report(&reports).await?, [0; 0]);
    assert_eq!(session.value::<i64>("select count(*) from pgmq.q_step_results").await?, 1);

    let (mut states, mut rounds) = (Vec::new(), 0);
    while session.queued("step_results").await? > 0 {
        if session.apply(1).await.is_err() {
            bury(&mut session, "step_results").await?;
        }
        rounds += 1;
        assert!(rounds < 10);
    }
    for task in tasks {
        states.push(session.task_state(task).await?);
    }
    states.sort();
    assert_eq!(states, ["complete", "complete", "error"]);
    assert_eq!(session.dead_reasons().await?, ["poisoned"]);
    let letter: String =
        session.value("select (message ->> 'worker') || (message ->> 'result') from stepwell.dead_letters").await?;
    assert_eq!(letter, "workerpoison");
    let worker: String = session.value("select worker_id from stepwell.step_attempts").await?;
    assert_eq!(worker, "worker");
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_good_message_is_not_buried_in_place_of_a_bad_one_that_another_orchestrator_holds() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, mut other) = (db.session().await?, db.session().await?);
    poison(&mut session).await?;
    let tasks = two_results(&mut session, r#""poison""#).await?;
    assert!(session.apply(1).await.is_err());
    other.run("begin; select from pgmq.q_step_results order by msg_id limit 1 for update").await?;
    bury(&mut session, "step_results").await?;
    assert_eq!(session.task_state(tasks[1]).await?, "complete");
    other.run("rollback").await?;
    bury(&mut session, "step_results").await?;
    assert_eq!(session.task_state(tasks[0]).await?, "error");
    assert_eq!(session.count("dead_letters").await?, 1);
    drop((session, other));
    db.finish().await
}

#[tokio::test]
async fn a_step_that_cannot_be_claimed_is_buried_and_a_good_one_in_its_place_is_not() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, mut other) = (db.session().await?, db.session().await?);
    poison(&mut session).await?;
    session.register(&chain(1)).await?;
    let bad = session.submit_one("test/chain", r#"{"unclaimable": true}"#).await?;
    let good = session.submit_one("test/chain", "{}").await?;
    session.initialize(10).await?;
    assert!(session.claim(2).await.is_err());

    other.run("begin; select from pgmq.q_test_queue order by msg_id limit 1 for update").await?;
    bury(&mut session, "test_queue").await?;
    assert_eq!((session.steps(good).await?, session.count("dead_letters").await?), ("a enqueued".into(), 0));
    other.run("rollback").await?;

    bury(&mut session, "test_queue").await?;
    assert_eq!(session.steps(bad).await?, "a error");
    let told: String = session.value("select code || ' ' || message from stepwell.step_attempts").await?;
    assert_eq!(told, "CANNOT_START the step cannot be started: poisoned");
    assert_eq!(session.claim_one().await?.task_id, good);
    assert_eq!(session.count("claims").await?, 1);
    drop((session, other));
    db.finish().await
}

#[tokio::test]
async fn a_message_is_buried_only_for_the_reason_that_was_given_for_its_problem() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    poison(&mut session).await?;
    let tasks = two_results(&mut session, r#""poison""#).await?;
    for call in [
        "select stepwell.bury_message('step_results')",
        "select stepwell.bury_message('step_results', 'another', 'masked')",
    ] {
        assert_eq!(session.value::<Option<String>>(call).await?.as_deref(), Some("poisoned"));
        assert_eq!((session.count("dead_letters").await?, session.queued("step_results").await?), (0, 2));
        assert_eq!(session.steps(tasks[0]).await?, "a enqueued");
    }
    let call = "select stepwell.bury_message('step_results', null, 'whatever it is')";
    assert_eq!(session.value::<Option<String>>(call).await?, None);
    assert_eq!(session.dead_reasons().await?, ["whatever it is"]);
    assert_eq!(session.steps(tasks[0]).await?, "a error");
    session.apply(10).await?;
    drop(session);
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgresql_says_of_a_bad_message_is_stored_without_the_secrets_in_it() -> Result<()> {
    let db = TestDatabase::new().await?;
    let config = config()?;
    let orchestrator = orchestrator(&db, &config).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let mut session = db.session().await?;
    session
        .run(
            "create sequence public.tries;
             create function public.tell() returns trigger language plpgsql as
               'begin raise exception ''cannot reach %'', new.context ->> ''url''; end';
             create function public.tell_result() returns trigger language plpgsql as
               'begin raise exception ''% at try %'', new.result ->> ''url'', nextval(''public.tries''); end';
             create trigger tell before insert on stepwell.tasks
               for each row when (new.context ? 'url') execute function public.tell();
             create trigger tell before update on stepwell.steps
               for each row when (new.result ? 'url') execute function public.tell_result()",
        )
        .await?;
    let secret = r#"{"url": "redis://user:hunter2@cache/0"}"#;
    let handlers = Handlers::new().with("a", move |_: Arc<ClaimedStep>| async move { Ok(secret.to_owned()) });
    let worker = worker(orchestrator.database(), 1, handlers).await?;

    let submitted = client.submit(&[request("test/chain", secret), request("test/chain", "{}")]).await?;
    let tasks: Vec<Uuid> = submitted.iter().map(|submitted| submitted.task_id).collect();
    wait(&client, &tasks).await?;

    let mut reasons = session.dead_reasons().await?;
    reasons.sort();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert_eq!(reasons[0], "cannot reach redis://user:***@cache/0");
    assert!(reasons[1].starts_with("redis://user:***@cache/0 at try "), "{reasons:?}");
    let told: String = session.value("select message from stepwell.step_attempts").await?;
    assert_eq!(told, format!("the result cannot be applied: {}", reasons[1]));
    drop(session);
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test]
async fn what_is_wrong_with_the_schema_buries_nothing() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    two_results(&mut session, "0").await?;
    session.run("alter table stepwell.steps rename to not_steps").await?;
    assert!(bury(&mut session, "step_results").await.is_err());
    session.run("alter table stepwell.not_steps rename to steps").await?;
    assert_eq!((session.count("dead_letters").await?, session.queued("step_results").await?), (0, 2));
    session.apply(10).await?;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_collision_of_transactions_buries_nothing() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let tasks = two_results(&mut session, "0").await?;
    session
        .run(
            "create function public.collide() returns trigger language plpgsql as
               'begin raise exception ''collision'' using errcode = ''40P01''; end';
             create trigger collide before update on stepwell.steps for each row execute function public.collide()",
        )
        .await?;
    assert!(bury(&mut session, "step_results").await.is_err());
    session.run("drop trigger collide on stepwell.steps").await?;
    assert_eq!((session.count("dead_letters").await?, session.queued("step_results").await?), (0, 2));
    assert_eq!(session.apply(10).await?.finished.len(), tasks.len());
    drop(session);
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn running_orchestrators_isolate_bad_messages_and_handle_all_others() -> Result<()> {
    let db = TestDatabase::new().await?;
    let config = config()?;
    let (one, two) = (orchestrator(&db, &config).await?, orchestrator(&db, &config).await?);
    let client = Client::new(one.database().clone());
    client.register(&[chain(2)]).await?;
    let mut session = db.session().await?;
    poison(&mut session).await?;
    let echo = |step: Arc<ClaimedStep>| async move {
        let poisoned = step.name == "b" && step.context.contains("bad_result");
        Ok(if poisoned { r#""poison""# } else { "1" }.to_owned())
    };
    let worker = worker(one.database(), 8, Handlers::new().with("a", echo).with("b", echo)).await?;

    let context = |index: usize| match index % 20 {
        3 => r#"{"poison": 1}"#,
        7 => r#"{"bad_result": 1}"#,
        11 => r#"{"unclaimable": 1}"#,
        _ => "{}",
    };
    let requests: Vec<_> = (0..200).map(|index| request("test/chain", context(index))).collect();
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect();
    wait(&client, &tasks).await?;
    for (index, task) in tasks.iter().enumerate() {
        let found = client.task(*task).await?;
        match index % 20 {
            3 => assert_eq!((found.state.as_str(), found.error.as_deref()), ("error", Some("poisoned"))),
            7 => {
                let (state, attempt, error) = step(&client, *task, "b").await?;
                assert_eq!((found.state.as_str(), state.as_str(), attempt), ("error", "error", 1));
                assert!(error.contains("poisoned"), "{error}");
            }
            11 => {
                let (state, attempt, error) = step(&client, *task, "a").await?;
                assert_eq!((found.state.as_str(), state.as_str(), attempt), ("error", "error", 1));
                assert!(error.contains("CANNOT_START"), "{error}");
            }
            _ => assert_eq!(found.state, "complete"),
        }
    }
    eventually("30 are buried", async || Ok((session.count("dead_letters").await? == 30).then_some(()))).await?;
    drop(session);
    worker.stop(PATIENCE).await;
    one.stop().await?;
    two.stop().await?;
    db.finish().await
}

/// What a lock or the settings of a role do to a hop is no message's fault.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_messages_fault_buries_nothing() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let tasks = two_results(&mut session, "1").await?;
    let mut other = db.session().await?;
    other.run("begin").await?;
    other.of_task::<bool>("select true from stepwell.tasks where task_id = $1 for update", tasks[0]).await?;
    for (setting, state) in [("lock_timeout", "55P03"), ("statement_timeout", "57014")] {
        session.run(&format!("set {setting} = '100ms'")).await?;
        let buried =
            session.value::<Option<String>>("select stepwell.bury_message('step_results', null, 'a reason')").await;
        assert_eq!(sqlstate(buried).as_deref(), Some(state));
        session.run(&format!("reset {setting}")).await?;
    }
    other.run("rollback").await?;
    assert_eq!((session.count("dead_letters").await?, session.queued("step_results").await?), (0, 2));
    assert_eq!(session.apply(10).await?.completed, 2);
    for queue in ["none_queue", "messages", "", "pg_class"] {
        assert_eq!(
            sqlstate(session.run(&format!("select stepwell.bury_message('{queue}')")).await).as_deref(),
            Some("SW003")
        );
    }
    drop((session, other));
    db.finish().await
}

/// A role with these settings, or a database: every hop works in smaller batches then.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_timeout_of_the_database_loses_no_result() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.run(&format!("alter database {} set lock_timeout = '100ms'", db.name())).await?;
    let config = config()?;
    let orchestrator = orchestrator(&db, &config).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let requests: Vec<_> = (0..50).map(|_| request("test/chain", "{}")).collect();
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect();
    eventually("they have begun", async || Ok((session.count("tasks").await? == 50).then_some(()))).await?;
    let mut other = db.session().await?;
    other.run("begin; lock table stepwell.steps in share mode").await?;
    let of_worker = support::runtime::link(&db, &config).await?;
    let handlers = Handlers::new().with("a", |_: Arc<ClaimedStep>| async { Ok("1".to_owned()) });
    let worker = worker(&of_worker, 5, handlers).await?;
    eventually("results wait", async || Ok((session.queued("step_results").await? > 0).then_some(()))).await?;
    eventually("the hop has failed several times", async || {
        let text = orchestrator.status();
        Ok(serde_json::to_string(&text)?.contains("lock timeout").then_some(()))
    })
    .await?;
    other.run("rollback").await?;
    wait(&client, &tasks).await?;
    assert_eq!(session.count("dead_letters").await?, 0);
    assert_eq!(session.value::<i64>("select count(*) from stepwell.tasks where state = 'complete'").await?, 50);
    drop((session, other));
    worker.stop(PATIENCE).await;
    of_worker.close().await;
    orchestrator.stop().await?;
    db.finish().await
}

/// What PostgreSQL has no memory for comes in smaller batches, and old tasks leave in smaller ones.
#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_memory_for_goes_in_smaller_batches() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session
        .run(
            "create function public.refuse_many() returns trigger language plpgsql as
               'begin
                  if (select count(*) from changed) > 4 then
                    raise exception ''out of memory'' using errcode = ''53200'';
                  end if;
                  return null;
                end';
             create trigger refuse_new after insert on stepwell.tasks referencing new table as changed
               for each statement execute function public.refuse_many();
             create trigger refuse_old after delete on stepwell.tasks referencing old table as changed
               for each statement execute function public.refuse_many()",
        )
        .await?;
    let mut config = config()?;
    config.retention.finished = Some(Duration::from_millis(1));
    config.retention.cycle = Duration::from_millis(100);
    session.register(&chain(1)).await?;
    session.submit(&vec![r#"{"workflow":"test/chain","context":{}}"#; 20]).await?;
    let orchestrator = orchestrator(&db, &config).await?;
    eventually("all have begun", async || Ok((session.count("tasks").await? == 20).then_some(()))).await?;
    let of_worker = support::runtime::link(&db, &config).await?;
    let handlers = Handlers::new().with("a", |_: Arc<ClaimedStep>| async { Ok("1".to_owned()) });
    let worker = worker(&of_worker, 5, handlers).await?;
    eventually("all are done, and removed", async || Ok((session.count("tasks").await? == 0).then_some(()))).await?;
    assert_eq!(session.count("dead_letters").await?, 0);
    drop(session);
    worker.stop(PATIENCE).await;
    of_worker.close().await;
    orchestrator.stop().await?;
    db.finish().await
}
