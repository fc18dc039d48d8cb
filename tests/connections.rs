//! Connections that are of no use any more: given up, and replaced.

mod support;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use stepwell::store::{AttemptEnd, ClaimedStep, Store};
use stepwell::worker::{Handlers, Outcome};
use stepwell::{Client, Error, Orchestrator, Worker};
use support::runtime::{config, link, request, wait, worker, PATIENCE};
use support::{chain, eventually, Session, TestDatabase};
use uuid::Uuid;

async fn connections(session: &mut Session) -> Result<i64> {
    let sql =
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'stepwell'";
    Ok(session.value(sql).await?)
}

#[tokio::test]
async fn a_call_without_an_answer_ends_and_its_connection_with_it() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let store =
        Store::connect(&db.url(), 2, Duration::from_secs(10)).await?.with_call_timeout(Duration::from_millis(200));
    session.run("begin; lock table stepwell.tasks").await?;
    // More often than there are connections: each that is given up makes room for another.
    for _ in 0..5 {
        let error = store.find_task(Uuid::now_v7()).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains("no answer within 200ms (database.call_timeout)"), "{error}");
    }
    session.run("rollback").await?;
    assert!(matches!(store.find_task(Uuid::now_v7()).await, Err(Error::UnknownTask { .. })));
    eventually("the backends have noticed", async || Ok((connections(&mut session).await? <= 2).then_some(()))).await?;
    store.close().await;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_call_that_its_caller_gives_up_does_not_hand_its_answer_to_the_next() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let store = Store::connect(&db.url(), 1, Duration::from_secs(10)).await?;
    session.run("begin; lock table stepwell.tasks").await?;
    let given_up = tokio::time::timeout(Duration::from_millis(100), store.find_tasks(&[])).await;
    assert!(given_up.is_err());
    assert!(store.paused_namespaces().await?.is_empty(), "on another connection, while the first still waits");
    session.run("rollback").await?;
    store.close().await;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_server_that_became_a_standby_is_left() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let name = db.name();
    session.run(&format!("alter database {name} set default_transaction_read_only = on")).await?;
    let store = Store::connect(&db.url(), 1, Duration::from_secs(10)).await?;
    assert!(store.paused_namespaces().await?.is_empty(), "the one connection is there");
    session.run(&format!("alter database {name} set default_transaction_read_only = off")).await?;

    let error = store.pause_namespace("test", None, None).await.unwrap_err();
    assert_eq!((error.sqlstate().as_deref(), error.is_transient()), (Some("25006"), true));
    assert!(store.pause_namespace("test", None, None).await?, "on a new connection");
    store.close().await;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_wait_and_a_heartbeat_bear_a_database_that_does_not_answer() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let mut config = config()?;
    config.database.call_timeout = Duration::from_millis(200);
    let database = link(&db, &config).await?;
    let task = session.start(&chain(1)).await?;
    let worker = Worker::start(database.clone(), vec!["test".to_owned()], 1).await?;
    let step = worker.take().await.context("a step")?;
    assert_eq!(worker.heartbeat(&step, "1").await?, None);

    session.run("begin; lock table stepwell.tasks, stepwell.steps").await?;
    assert_eq!(worker.heartbeat(&step, "2").await?, None, "no reason for the handler to fail");
    let wait = Client::new(database.clone()).wait(&[task], Some(Duration::from_millis(500)), |_| {}).await;
    assert!(
        matches!(&wait, Err(error) if error.is_transient() || matches!(error, Error::WaitTimeout { .. })),
        "{wait:?}"
    );
    session.run("rollback").await?;

    session.cancel(task).await?;
    assert_eq!(worker.heartbeat(&step, "3").await?, Some(AttemptEnd::Cancelled));
    worker.report(&step, &Outcome::Complete("1".into()), Duration::ZERO);
    assert_eq!(worker.stop(Duration::from_secs(10)).await, 0);
    database.close().await;
    session.apply(10).await?;
    drop(session);
    db.finish().await
}

/// The server process of the connection that this call is made on.
async fn backend(store: &Store, seconds: f64) -> Result<i32> {
    let call = sqlx::query_scalar("select pg_backend_pid() from pg_sleep($1)").bind(seconds);
    Ok(call.fetch_one(store).await?)
}

#[tokio::test]
async fn the_connection_that_was_used_last_is_used_next() -> Result<()> {
    let db = TestDatabase::new().await?;
    let store = Store::connect(&db.url(), 5, Duration::from_secs(10)).await?;
    let (one, two, three) = tokio::try_join!(backend(&store, 0.2), backend(&store, 0.3), backend(&store, 0.4))?;
    assert!(one != two && two != three && one != three);
    for _ in 0..10 {
        assert_eq!(backend(&store, 0.0).await?, three);
    }
    store.close().await;
    let mut session = db.session().await?;
    eventually("they are closed", async || Ok((connections(&mut session).await? == 0).then_some(()))).await?;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn where_the_server_has_ended_the_sessions_one_call_finds_out_for_all() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    let store = Store::connect(&db.url(), 5, Duration::from_secs(10)).await?;
    for _again in 0..3 {
        tokio::try_join!(backend(&store, 0.2), backend(&store, 0.2), backend(&store, 0.2), backend(&store, 0.2))?;
        session
            .run(
                "select pg_terminate_backend(pid) from pg_stat_activity
                  where application_name = 'stepwell' and datname = current_database()",
            )
            .await?;
        eventually("they end", async || Ok((connections(&mut session).await? == 0).then_some(()))).await?;
        assert!(backend(&store, 0.0).await.is_err(), "nobody has looked yet");
        backend(&store, 0.0).await?;
    }
    store.close().await;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_call_that_waits_for_a_connection_gets_one_that_would_rest() -> Result<()> {
    let db = TestDatabase::new().await?;
    let store = Store::connect(&db.url(), 2, Duration::from_secs(60)).await?;
    let listener = store.pool().acquire().await?; // for good, as a listener's
    let calls: Vec<_> = (0..10).map(|_| backend(&store, 0.05)).collect();
    let backends = tokio::time::timeout(Duration::from_secs(20), futures_util::future::try_join_all(calls)).await??;
    assert!(backends.iter().all(|backend| *backend == backends[0]), "{backends:?}");
    drop(listener);
    store.close().await;
    db.finish().await
}

#[tokio::test]
async fn a_call_that_was_given_up_ends_in_the_server_too() -> Result<()> {
    ends_in_the_server_too(true).await
}

/// Where the session is a pooler's, which may keep it when its client has gone.
#[tokio::test]
async fn a_call_through_a_pooler_that_was_given_up_ends_by_itself() -> Result<()> {
    ends_in_the_server_too(false).await
}

async fn ends_in_the_server_too(sessions: bool) -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let task = session.submit_one("test/chain", "{}").await?;
    session.initialize(1).await?;
    let mut settings = config()?;
    settings.database.prepared_statements = Some(sessions);
    settings.database.pool_size = 2;
    settings.database.call_timeout = Duration::from_millis(200);
    let database = link(&db, &settings).await?;
    let store = database.store();
    let mut other = db.session().await?;
    other.run("begin").await?;
    other.of_task::<bool>("select true from stepwell.tasks where task_id = $1 for update", task).await?;
    for _ in 0..5 {
        let error = store.cancel_task(task, None, None).await.err().context("it took effect")?;
        assert!(
            error.is_timeout() && error.to_string().contains("whether the call took effect is not known"),
            "{error}"
        );
    }
    let waiting = "select count(*) from pg_stat_activity
                    where datname = current_database() and wait_event_type = 'Lock'";
    assert!(session.value::<i64>(waiting).await? > 0, "no backend waited");
    eventually("no backend goes on", async || Ok((session.value::<i64>(waiting).await? == 0).then_some(()))).await?;
    other.run("rollback").await?;
    assert_eq!(session.task_state(task).await?, "in_progress");
    database.close().await;
    drop((session, other));
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_enough_for_a_pool() -> Result<()> {
    let db = TestDatabase::empty().await?;
    let mut settings = config()?;
    settings.database.pool_size = 1;
    let orchestrator = Orchestrator::start(link(&db, &settings).await?).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(3)]).await?;
    let handler = |_: Arc<ClaimedStep>| async { Ok("1".to_owned()) };
    let handlers = ["a", "b", "c"].iter().fold(Handlers::new(), |handlers, name| handlers.with(*name, handler));
    let worker = worker(orchestrator.database(), 2, handlers).await?;
    let requests: Vec<_> = (0..20).map(|_| request("test/chain", "{}")).collect();
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect();
    wait(&client, &tasks).await?;
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}
