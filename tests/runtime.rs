//! Orchestrators, workers and clients together, in one process and as if in several: each link to the database stands
//! for a process.

#![allow(clippy::unwrap_used, reason = "a handler that cannot go on fails the test")]

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use stepwell::store::ClaimedStep;
use stepwell::worker::{Failure, FailureKind, HandlerResult, Handlers, Outcome};
use stepwell::{Client, Error, Worker, Workflow};
use support::runtime::{config, link, orchestrator, request, step, submit, wait, worker, PATIENCE};
use support::session::NAMESPACE;
use support::{chain, define, diamond, eventually, Session, TestDatabase};
use tokio::sync::Semaphore;
use uuid::Uuid;

type Executions = Arc<Mutex<HashMap<(Uuid, String), u32>>>;

/// Adds one to the context's `n`, or to the sum of all dependencies' results.
async fn add_one(step: Arc<ClaimedStep>) -> HandlerResult {
    let numbers: HashMap<String, i64> = serde_json::from_str(step.results.as_ref().unwrap_or(&step.context)).unwrap();
    Ok((numbers.values().sum::<i64>() + 1).to_string())
}

/// Handlers of these names that all add one and count how often each step was executed.
fn counting(names: &[&str], executions: &Executions) -> Handlers {
    names.iter().fold(Handlers::new(), |handlers, name| {
        let executions = executions.clone();
        handlers.with(*name, move |step: Arc<ClaimedStep>| {
            *executions.lock().unwrap().entry((step.task_id, step.name.clone())).or_default() += 1;
            add_one(step)
        })
    })
}

fn each_once(executions: &Executions) -> usize {
    let executions = executions.lock().unwrap();
    for (step, count) in executions.iter() {
        assert_eq!(*count, 1, "{step:?}");
    }
    executions.len()
}

async fn completed_steps(session: &mut Session) -> Result<i64> {
    Ok(session.value("select count(*) from stepwell.steps where state = 'complete'").await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_and_diamonds_compute_their_results() -> Result<()> {
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(4), diamond()]).await?;
    let executions = Executions::default();
    let handlers = counting(&["a", "b", "c", "d", "start", "left", "right", "end"], &executions);
    let worker = worker(orchestrator.database(), 4, handlers).await?;

    let line = submit(&client, "test/chain", r#"{"n": 5}"#).await?;
    let square = submit(&client, "test/diamond", r#"{"n": 10}"#).await?;
    wait(&client, &[line, square]).await?;

    assert_eq!(step(&client, line, "d").await?, ("complete".into(), 1, "9".into()));
    assert_eq!(step(&client, square, "end").await?, ("complete".into(), 1, "25".into()));
    assert_eq!(client.task(line).await?.state, "complete");
    assert_eq!(each_once(&executions), 8);
    assert_eq!(worker.stop(PATIENCE).await, 0);
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_wake_each_other_without_polling() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut settings = config()?;
    settings.orchestrator.polling_interval = Duration::from_secs(3600);
    settings.worker.polling_interval = Duration::from_secs(3600);
    let orchestrator = orchestrator(&db, &settings).await?;
    let (of_worker, of_client) = (link(&db, &settings).await?, link(&db, &settings).await?);
    let client = Client::new(of_client.clone());
    client.register(&[chain(3)]).await?;
    let worker = worker(&of_worker, 1, counting(&["a", "b", "c"], &Executions::default())).await?;

    for n in 0..3 {
        let task = submit(&client, "test/chain", &format!(r#"{{"n": {n}}}"#)).await?;
        wait(&client, &[task]).await?;
        assert_eq!(step(&client, task, "c").await?.2, (n + 3).to_string());
    }
    worker.stop(PATIENCE).await;
    of_worker.close().await;
    of_client.close().await;
    orchestrator.stop().await?;
    db.finish().await
}

/// Results of steps that take no time wait for their reports, and claims wait for those.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_results_were_behind_goes_on_as_soon_as_they_are_not() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut settings = config()?;
    settings.worker.polling_interval = Duration::from_secs(3600);
    settings.worker.claim_batch = 20;
    settings.worker.report_batch = 2;
    let orchestrator = orchestrator(&db, &settings).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let requests = vec![request("test/chain", r#"{"n": 0}"#); 200];
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect();
    let executions = Executions::default();
    let worker = worker(orchestrator.database(), 10, counting(&["a"], &executions)).await?;
    wait(&client, &tasks).await?;
    assert_eq!(each_once(&executions), 200);
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

/// Whether a result has ever been in the queue.
async fn results_were_queued(session: &mut Session) -> Result<bool> {
    Ok(session.value("select is_called from pgmq.q_step_results_msg_id_seq").await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_beside_its_orchestrator_settles_few_results_without_the_queue() -> Result<()> {
    let db = TestDatabase::new().await?;
    let settings = config()?;
    let orchestrator = orchestrator(&db, &settings).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(3)]).await?;
    let mut session = db.session().await?;
    let handlers = || counting(&["a", "b", "c"], &Executions::default());
    let beside = worker(orchestrator.database(), 2, handlers()).await?;
    for _ in 0..3 {
        let task = submit(&client, "test/chain", r#"{"n": 0}"#).await?;
        wait(&client, &[task]).await?;
        assert_eq!(step(&client, task, "c").await?.2, "3");
    }
    assert!(!results_were_queued(&mut session).await?);
    assert_eq!(orchestrator.status().summary.steps_completed, 9, "they count as any others");
    beside.stop(PATIENCE).await;

    let of_worker = link(&db, &settings).await?;
    let elsewhere = worker(&of_worker, 2, handlers()).await?;
    let task = submit(&client, "test/chain", r#"{"n": 1}"#).await?;
    wait(&client, &[task]).await?;
    assert!(results_were_queued(&mut session).await?, "another process has no orchestrator");
    elsewhere.stop(PATIENCE).await;
    of_worker.close().await;
    drop(session);
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_begins_past_the_queue_where_a_worker_waits_beside_its_orchestrator() -> Result<()> {
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(3)]).await?;
    let mut session = db.session().await?;
    session
        .run(
            "create table public.queued (step jsonb);
             create function public.note() returns trigger language plpgsql as
               'begin insert into public.queued values (new.message); return new; end';
             create trigger note before insert on pgmq.q_test_queue for each row execute function public.note()",
        )
        .await?;
    let executions = Executions::default();
    let beside = worker(orchestrator.database(), 2, counting(&["a", "b", "c"], &executions)).await?;
    // The first may come before the worker has found its queue empty.
    let passed = eventually("a task whose steps were never queued", async || {
        let task = submit(&client, "test/chain", r#"{"n": 0}"#).await?;
        wait(&client, &[task]).await?;
        let queued =
            session.of_task::<i64>("select count(*) from public.queued where (step ->> 'task_id')::uuid = $1", task);
        Ok((queued.await? == 0).then_some(task))
    })
    .await?;
    assert_eq!(step(&client, passed, "c").await?.2, "3");
    each_once(&executions);
    drop(session);
    beside.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_where_a_stopped_orchestrator_left_it() -> Result<()> {
    let db = TestDatabase::new().await?;
    let config = config()?;
    let first = orchestrator(&db, &config).await?;
    let database = link(&db, &config).await?;
    let client = Client::new(database.clone());
    client.register(&[chain(4)]).await?;
    let executions = Executions::default();
    let worker = worker(&database, 4, counting(&["a", "b", "c", "d"], &executions)).await?;

    let requests: Vec<_> = (0..100).map(|n| request("test/chain", format!(r#"{{"n": {n}}}"#))).collect();
    let mut tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect();
    let mut session = db.session().await?;
    eventually("some steps are complete", async || Ok((completed_steps(&mut session).await? > 0).then_some(())))
        .await?;
    first.stop().await?;
    tasks.extend(client.submit(&requests).await?.iter().map(|submitted| submitted.task_id));
    assert!(session.queued("task_requests").await? >= 100, "nobody initializes tasks any more");

    let second = orchestrator(&db, &config).await?;
    wait(&client, &tasks).await?;
    assert_eq!(each_once(&executions), 800);
    assert_eq!(completed_steps(&mut session).await?, 800);
    drop(session);
    worker.stop(PATIENCE).await;
    database.close().await;
    second.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_orchestrators_and_two_workers_share_the_work() -> Result<()> {
    let db = TestDatabase::new().await?;
    let config = config()?;
    let (one, two) = (orchestrator(&db, &config).await?, orchestrator(&db, &config).await?);
    let client = Client::new(one.database().clone());
    client.register(&[diamond()]).await?;
    let executions = Executions::default();
    let names = ["start", "left", "right", "end"];
    let workers = [
        worker(one.database(), 4, counting(&names, &executions)).await?,
        worker(two.database(), 4, counting(&names, &executions)).await?,
    ];

    let requests: Vec<_> = (0..200).map(|n| request("test/diamond", format!(r#"{{"n": {n}}}"#))).collect();
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect();
    wait(&client, &tasks).await?;

    assert_eq!(each_once(&executions), 800);
    for (n, task) in tasks.iter().enumerate() {
        assert_eq!(step(&client, *task, "end").await?.2, (2 * n + 5).to_string());
    }
    let finished = one.status().summary.tasks_finished + two.status().summary.tasks_finished;
    assert_eq!(finished, 200, "each task is finished by one of them");
    for worker in workers {
        worker.stop(PATIENCE).await;
    }
    one.stop().await?;
    two.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_worker_finishes_what_runs_and_gives_back_the_rest_uncounted() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut settings = config()?;
    settings.worker.prefetch = Duration::from_secs(3600); // whatever its rate is, it claims ahead
    let orchestrator = orchestrator(&db, &settings).await?;
    let database = orchestrator.database();
    let client = Client::new(database.clone());
    client.register(&[chain(1)]).await?;
    let requests: Vec<_> = (0..300).map(|n| request("test/chain", format!(r#"{{"n": {n}}}"#))).collect();
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect();
    let done = |step: &ClaimedStep| (Outcome::Complete("1".into()), step.clone());

    let mut session = db.session().await?;
    let held = "select coalesce(sum(cardinality(task_ids)), 0)::bigint from stepwell.claims";
    let worker = Worker::start(database.clone(), vec![NAMESPACE.to_owned()], 1).await?;
    let mut taken = 1;
    let running = loop {
        let step = worker.take().await.unwrap();
        if session.value::<i64>(held).await? > 1 {
            break step;
        }
        let (outcome, step) = done(&step);
        worker.report(&step, &outcome, Duration::ZERO);
        taken += 1;
    };
    assert!(taken < 300, "the worker never claimed ahead");

    let worker = Arc::new(worker);
    let stopping = tokio::spawn({
        let worker = worker.clone();
        async move { worker.stop(PATIENCE).await }
    });
    eventually("only the running step is held", async || Ok((session.value::<i64>(held).await? == 1).then_some(())))
        .await?;
    assert!(!stopping.is_finished());
    worker.report(&running, &Outcome::Complete("2".into()), Duration::ZERO);
    assert_eq!(stopping.await?, 0);

    let successor = support::runtime::worker(database, 4, Handlers::new().with("a", add_one)).await?;
    wait(&client, &tasks).await?;
    assert_eq!(step(&client, running.task_id, "a").await?, ("complete".into(), 1, "2".into()));
    assert_eq!(session.value::<i16>("select max(attempt) from stepwell.steps").await?, 1);
    assert_eq!(session.count("step_attempts").await?, 0);
    drop(session);
    successor.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_outlives_the_grace_period_is_given_back_uncounted() -> Result<()> {
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let (started, running) = (Arc::new(Semaphore::new(0)), Arc::new(()));
    let (signal, token) = (started.clone(), Arc::downgrade(&running));
    let endless = Handlers::new().with("a", move |_: Arc<ClaimedStep>| {
        let (signal, running) = (signal.clone(), token.upgrade());
        async move {
            signal.add_permits(1);
            std::future::pending::<()>().await;
            drop(running);
            Ok(String::new())
        }
    });
    let hanging = worker(orchestrator.database(), 1, endless).await?;
    let task = submit(&client, "test/chain", r#"{"n": 1}"#).await?;
    started.acquire().await?.forget();
    assert_eq!(step(&client, task, "a").await?.0, "in_progress");
    assert_eq!(hanging.stop(Duration::ZERO).await, 1);
    eventually("the handler's future is dropped", async || Ok((Arc::strong_count(&running) == 1).then_some(())))
        .await?;

    let successor = worker(orchestrator.database(), 1, Handlers::new().with("a", add_one)).await?;
    wait(&client, &[task]).await?;
    assert_eq!(step(&client, task, "a").await?, ("complete".into(), 1, "2".into()));
    successor.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

// On the test's own thread, so that the test harness swallows what the panic prints.
#[tokio::test]
async fn a_panic_and_a_timeout_are_failures_that_are_retried() -> Result<()> {
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    let client = Client::new(orchestrator.database().clone());
    let quickly = json!({ "base": 0.001, "cap": 0.001 });
    let workflow = define(
        "clumsy",
        json!([
            { "name": "panics", "backoff": quickly },
            { "name": "hangs", "backoff": quickly, "timeout": 0.02 },
            { "name": "always_hangs", "backoff": quickly, "timeout": 0.02, "max_attempts": 2 }
        ]),
    );
    client.register(&[workflow]).await?;
    let handlers = Handlers::new()
        .with("panics", |step: Arc<ClaimedStep>| async move {
            assert!(step.attempt > 1, "boom");
            Ok("1".to_owned())
        })
        .with("hangs", |step: Arc<ClaimedStep>| async move {
            if step.attempt == 1 {
                std::future::pending::<()>().await;
            }
            Ok("2".to_owned())
        })
        .with("always_hangs", |_: Arc<ClaimedStep>| std::future::pending());
    let worker = worker(orchestrator.database(), 3, handlers).await?;
    let task = submit(&client, "test/clumsy", "{}").await?;
    wait(&client, &[task]).await?;

    assert_eq!(client.task(task).await?.state, "error");
    assert_eq!(step(&client, task, "panics").await?, ("complete".into(), 2, "1".into()));
    assert_eq!(step(&client, task, "hangs").await?, ("complete".into(), 2, "2".into()));
    assert_eq!(step(&client, task, "always_hangs").await?.0, "error");
    let mut session = db.session().await?;
    let attempts = "select s.name || ' ' || a.attempt || ' ' || a.kind from stepwell.step_attempts a
                      join stepwell.steps s using (task_id, position) order by 1";
    assert_eq!(
        session.column::<String>(attempts).await?,
        ["always_hangs 1 timeout", "always_hangs 2 timeout", "hangs 1 timeout", "panics 1 retryable"]
    );
    let boom: bool = session.value("select bool_or(message like '%boom%') from stepwell.step_attempts").await?;
    assert!(boom, "the panic's message is kept");
    drop(session);
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_without_a_handler_waits_for_a_worker_that_has_it() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut settings = config()?;
    settings.worker.unhandled_delay = Duration::ZERO;
    let orchestrator = orchestrator(&db, &settings).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let old = worker(orchestrator.database(), 1, Handlers::new()).await?;
    let task = submit(&client, "test/chain", r#"{"n": 1}"#).await?;
    let mut session = db.session().await?;
    let unhandled = "select count(*) from stepwell.steps where unhandled_since is not null";
    eventually("a worker gave the step back", async || Ok((session.value::<i64>(unhandled).await? == 1).then_some(())))
        .await?;
    drop(session);

    let new = worker(orchestrator.database(), 1, Handlers::new().with("a", add_one)).await?;
    wait(&client, &[task]).await?;
    assert_eq!(step(&client, task, "a").await?, ("complete".into(), 1, "2".into()));
    old.stop(PATIENCE).await;
    new.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_nobody_handles_ends_in_error_that_names_the_handler() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut settings = config()?;
    settings.worker.unhandled_give_up = Duration::ZERO;
    let orchestrator = orchestrator(&db, &settings).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[define("lonely", json!([{ "name": "a", "handler": "NobodyHasIt" }]))]).await?;
    let worker = worker(orchestrator.database(), 1, Handlers::new()).await?;
    let task = submit(&client, "test/lonely", "{}").await?;
    wait(&client, &[task]).await?;
    let (state, attempt, error) = step(&client, task, "a").await?;
    assert_eq!((state.as_str(), attempt), ("error", 1));
    assert!(error.contains("NobodyHasIt") && error.contains("UNKNOWN_HANDLER"), "{error}");
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_cannot_be_stored_fails_alone() -> Result<()> {
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let gate = Arc::new(Semaphore::new(0));
    let (results, opened) = (
        [
            r#""\u0000""#,
            "1e200000",
            r#""\ud800""#,
            "{",
            "nonsense",
            r#"{"deep": ["\u0000"]}"#,
            r#""good""#,
            "12345678901234567890.50",
        ],
        gate.clone(),
    );
    let handlers = Handlers::new().with("a", move |step: Arc<ClaimedStep>| {
        let opened = opened.clone();
        async move {
            let _opened = opened.acquire().await.unwrap();
            let index: HashMap<String, usize> = serde_json::from_str(&step.context).unwrap();
            Ok(results[index["n"]].to_owned())
        }
    });
    let worker = worker(orchestrator.database(), 40, handlers).await?;
    let requests: Vec<_> = (0..40).map(|n| request("test/chain", format!(r#"{{"n": {}}}"#, n % 8))).collect();
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect();
    gate.add_permits(1_000);
    wait(&client, &tasks).await?;

    for (n, task) in tasks.iter().enumerate() {
        let (state, attempt, told) = step(&client, *task, "a").await?;
        assert_eq!(attempt, 1, "no attempt is repeated: {told}");
        if n % 8 < 6 {
            assert_eq!(state, "error");
            assert!(told.contains("INVALID_RESULT") && told.contains("permanent"), "{told}");
        } else {
            assert_eq!((state.as_str(), told.as_str()), ("complete", results[n % 8]));
        }
    }
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_kept_without_the_part_that_cannot_be_stored() -> Result<()> {
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let handlers = Handlers::new().with("a", |_: Arc<ClaimedStep>| async move {
        Err(Failure {
            metadata: Some(r#"{"poison": "\u0000"}"#.into()),
            code: Some("E\0 1".into()),
            ..Failure::new(FailureKind::Permanent, "Refused", "no \0 and no")
        })
    });
    let worker = worker(orchestrator.database(), 1, handlers).await?;
    let task = submit(&client, "test/chain", r#"{"n": 1}"#).await?;
    wait(&client, &[task]).await?;
    let (state, attempt, error) = step(&client, task, "a").await?;
    assert_eq!((state.as_str(), attempt), ("error", 1));
    assert!(error.contains("no \u{fffd} and no") && error.contains("Refused"), "{error}");
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_lose_nothing() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut settings = config()?;
    settings.database.pool_size = 5;
    settings.worker.lease = Duration::from_secs(1); // a claim whose answer was cut off comes back by its lease
    let orchestrator = orchestrator(&db, &settings).await?;
    let of_worker = link(&db, &settings).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(4)]).await?;
    let worker = worker(&of_worker, 10, counting(&["a", "b", "c", "d"], &Executions::default())).await?;

    let mut session = db.session().await?;
    let others = "from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'";
    let requests: Vec<_> = (0..40).map(|n| request("test/chain", format!(r#"{{"n": {n}}}"#))).collect();
    let mut tasks = Vec::new();
    for round in 1..=8 {
        tasks.extend(client.submit(&requests).await?.iter().map(|submitted| submitted.task_id));
        let goal = completed_steps(&mut session).await? + 20;
        eventually("it goes on", async || Ok((completed_steps(&mut session).await? >= goal).then_some(()))).await?;
        let killed: i64 = session.value(&format!("select count(pg_terminate_backend(pid)) {others}")).await?;
        assert!(killed > 0, "round {round}");
    }
    wait(&client, &tasks).await?;

    assert_eq!(session.value::<i64>("select count(*) from stepwell.tasks where state = 'complete'").await?, 320);
    let connections: i64 = session.value(&format!("select count(*) {others}")).await?;
    assert!(connections <= 2 * (5 + 1), "two pools of 5 and a listener each, not {connections}");
    drop(session);
    worker.stop(PATIENCE).await;
    of_worker.close().await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_answer_was_lost_expires_although_its_worker_lives() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut settings = config()?;
    settings.worker.lease = Duration::from_millis(300);
    let orchestrator = orchestrator(&db, &settings).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let (started, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let handlers = Handlers::new().with("a", {
        let (started, gate) = (started.clone(), gate.clone());
        move |step: Arc<ClaimedStep>| {
            let (started, gate) = (started.clone(), gate.clone());
            async move {
                if step.context.contains("slow") {
                    started.add_permits(1);
                    let _opened = gate.acquire().await.unwrap();
                }
                Ok("1".to_owned())
            }
        }
    });
    let worker = worker(orchestrator.database(), 2, handlers).await?;
    let slow = submit(&client, "test/chain", r#"{"slow": 1}"#).await?;
    started.acquire().await?.forget();

    // What the database holds after it claimed for this worker and the answer was lost on the way.
    let mut session = db.session().await?;
    session.run("begin").await?;
    let lost = session.submit_one("test/chain", "{}").await?;
    session.initialize(1).await?;
    assert_eq!(session.claim_as(worker.id(), 1, "300 ms").await?.len(), 1);
    session.run("commit").await?;

    wait(&client, &[lost]).await?;
    assert_eq!(step(&client, lost, "a").await?, ("complete".into(), 2, "1".into()));
    gate.add_permits(1);
    wait(&client, &[slow]).await?;
    assert_eq!(step(&client, slow, "a").await?, ("complete".into(), 1, "1".into()), "its heartbeats kept the lease");
    drop(session);
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_answer_was_lost_with_its_connection_is_given_back_uncounted() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut settings = config()?;
    settings.worker.lease = Duration::from_secs(3600);
    let orchestrator = orchestrator(&db, &settings).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let of_worker = link(&db, &settings).await?;
    let worker = worker(&of_worker, 2, counting(&["a"], &Executions::default())).await?;
    let first = submit(&client, "test/chain", r#"{"n": 0}"#).await?;
    wait(&client, &[first]).await?;

    // As above, and then the connection breaks.
    let mut session = db.session().await?;
    session.run("begin").await?;
    let lost = session.submit_one("test/chain", r#"{"n": 1}"#).await?;
    session.initialize(1).await?;
    assert_eq!(session.claim_as(worker.id(), 1, "1 hour").await?.len(), 1);
    session.run("commit").await?;
    let mut other = db.session().await?;
    other.run("begin; lock table stepwell.claims in share mode").await?;
    let later = submit(&client, "test/chain", r#"{"n": 2}"#).await?;
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock' and query like '%claim_steps%'";
    eventually("a claim is cut off", async || Ok((session.value::<i64>(cut).await? > 0).then_some(()))).await?;
    other.run("rollback").await?;
    wait(&client, &[lost, later]).await?;
    for task in [lost, later] {
        assert_eq!(step(&client, task, "a").await?.1, 1, "no attempt is counted that nobody made");
    }
    drop((session, other));
    worker.stop(PATIENCE).await;
    of_worker.close().await;
    orchestrator.stop().await?;
    db.finish().await
}

/// Of another process nothing is heard here but what stands in the tables, and a task may leave them between two looks.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_for_a_task_that_was_removed_before_anybody_looked() -> Result<()> {
    let db = TestDatabase::new().await?;
    let database = link(&db, &config()?).await?;
    let client = Client::new(database.clone());
    client.register(&[chain(1)]).await?;
    let task = submit(&client, "test/chain", "{}").await?;
    let waits = Arc::new(Semaphore::new(0));
    let waiting = tokio::spawn({
        let (client, waits) = (client.clone(), waits.clone());
        async move { client.wait(&[task], Some(PATIENCE), |_| waits.add_permits(1)).await }
    });
    waits.acquire().await?.forget();
    let mut session = db.session().await?;
    session.run(&format!("begin; select stepwell.cancel_task('{task}')")).await?;
    session.run("select stepwell.remove_finished_tasks(null, 10, interval '-1 s', interval '-1 s'); commit").await?;
    waiting.await??;
    assert!(client.tasks(&[task]).await?[0].is_none());
    drop(session);
    database.close().await;
    db.finish().await
}

/// Deleting by hand what has tasks is refused; somebody can switch that off.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_definition_is_gone_ends_in_error_and_holds_up_no_other() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut settings = config()?;
    settings.worker.lease = Duration::from_secs(3600);
    let orchestrator = orchestrator(&db, &settings).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1), define("gone", json!([{ "name": "a" }]))]).await?;
    let requests: Vec<_> =
        (0..6).map(|n| request(["test/chain", "test/gone"][n % 2], format!(r#"{{"n": {n}}}"#))).collect();
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect();
    let mut session = db.session().await?;
    eventually("all are in the queue", async || Ok((session.queued("test_queue").await? == 6).then_some(()))).await?;
    session
        .run(
            "alter table stepwell.workflows disable trigger keep_used_workflow;
              delete from stepwell.workflows where name = 'gone'",
        )
        .await?;

    let worker = worker(orchestrator.database(), 2, counting(&["a"], &Executions::default())).await?;
    for task in tasks.chunks(2) {
        wait(&client, &task[..1]).await?;
        assert_eq!(step(&client, task[0], "a").await?.1, 1, "executed once, and not given back");
        eventually("the other has ended", async || {
            let ended =
                session.of_task::<bool>("select state = 'error' from stepwell.tasks where task_id = $1", task[1]);
            Ok(ended.await?.then_some(()))
        })
        .await?;
        let message: String =
            session.of_task("select message from stepwell.step_attempts where task_id = $1", task[1]).await?;
        assert_eq!(message, "the definition of step a has been deleted");
    }
    assert_eq!(session.count("dead_letters").await?, 0);
    drop(session);
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.discard().await
}

/// What steps are is asked after they were claimed: when that fails, nobody would execute them before their lease has passed.
#[tokio::test(flavor = "multi_thread")]
async fn steps_of_which_nobody_can_say_what_they_are_are_given_back_uncounted() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut settings = config()?;
    settings.worker.lease = Duration::from_secs(3600);
    let orchestrator = orchestrator(&db, &settings).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(2)]).await?;
    let worker = worker(orchestrator.database(), 2, counting(&["a", "b"], &Executions::default())).await?;
    let mut session = db.session().await?;
    session.run("alter function stepwell.describe_steps rename to away").await?;
    let mut tasks = vec![submit(&client, "test/chain", r#"{"n": 0}"#).await?];
    let requests: Vec<_> = (1..20).map(|n| request("test/chain", format!(r#"{{"n": {n}}}"#))).collect();
    tasks.extend(client.submit(&requests).await?.iter().map(|submitted| submitted.task_id));
    eventually("twenty claims in vain", async || {
        Ok((session.value::<i64>("select last_value from stepwell.claims_claim_id_seq").await? >= 20).then_some(()))
    })
    .await?;

    session.run("alter function stepwell.away rename to describe_steps").await?;
    wait(&client, &tasks).await?;
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(step(&client, task, "b").await?, ("complete".into(), 1, (n + 2).to_string()));
        assert_eq!(step(&client, task, "a").await?.1, 1, "as if nothing had been");
    }
    drop(session);
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

/// As many as a process remembers, and one more.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_has_to_forget_workflows_still_knows_those_of_its_steps() -> Result<()> {
    const REMEMBERED: usize = 1_000;
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    let client = Client::new(orchestrator.database().clone());
    let mut session = db.session().await?;
    let definition = serde_json::to_string(&chain(1))?;
    let named = definition.replace(r#""name":"chain""#, r#""name":"w' || n || '""#);
    session
        .run(&format!("select stepwell.register_workflow(('{named}')::jsonb) from generate_series(0, {REMEMBERED}) n"))
        .await?;
    let handlers = || counting(&["a"], &Executions::default());
    let first = worker(orchestrator.database(), 2, handlers()).await?;
    let requests: Vec<_> = (0..REMEMBERED).map(|n| request(&format!("test/w{n}"), r#"{"n": 0}"#)).collect();
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect();
    wait(&client, &tasks).await?;
    first.stop(PATIENCE).await;

    let requests = [0, REMEMBERED].map(|n| request(&format!("test/w{n}"), r#"{"n": 0}"#));
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect();
    eventually("both are in the queue", async || Ok((session.queued("test_queue").await? == 2).then_some(()))).await?;
    let second = worker(orchestrator.database(), 2, handlers()).await?;
    wait(&client, &tasks).await?;
    for task in tasks {
        assert_eq!(step(&client, task, "a").await?, ("complete".into(), 1, "1".into()));
    }
    drop(session);
    second.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_lost_its_lease_changes_nothing() -> Result<()> {
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let attempts = Arc::new(AtomicU32::new(0));
    let (started, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let handlers = Handlers::new().with("a", {
        let (attempts, started, gate) = (attempts.clone(), started.clone(), gate.clone());
        move |step: Arc<ClaimedStep>| {
            let (attempts, started, gate) = (attempts.clone(), started.clone(), gate.clone());
            async move {
                attempts.fetch_add(1, SeqCst);
                if step.attempt == 1 {
                    started.add_permits(1);
                    let _opened = gate.acquire().await.unwrap();
                }
                Ok(step.attempt.to_string())
            }
        }
    });
    let worker = worker(orchestrator.database(), 2, handlers).await?;
    let task = submit(&client, "test/chain", "{}").await?;
    started.acquire().await?.forget();
    db.session().await?.run("update stepwell.claims set expires_at = now() - interval '1 s'").await?;
    wait(&client, &[task]).await?;
    gate.add_permits(1);
    worker.stop(PATIENCE).await;

    assert_eq!(attempts.load(SeqCst), 2);
    assert_eq!(step(&client, task, "a").await?, ("complete".into(), 2, "2".into()));
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_a_task_is_cancelled_elsewhere_and_when_its_time_is_up() -> Result<()> {
    let db = TestDatabase::new().await?;
    let config = config()?;
    let orchestrator = orchestrator(&db, &config).await?;
    let other = link(&db, &config).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let task = submit(&client, "test/chain", "{}").await?;

    match client.wait(&[task], Some(Duration::from_millis(200)), |_| {}).await {
        Err(Error::WaitTimeout { task_id, .. }) => assert_eq!(task_id, task),
        other => panic!("{other:?}"),
    }
    assert!(matches!(client.wait(&[Uuid::now_v7()], None, |_| {}).await, Err(Error::UnknownTask { .. })));

    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait(&[task], Some(PATIENCE), |_| {}).await }
    });
    assert_eq!(Client::new(other.clone()).cancel(task, Some("enough"), Some("me")).await?, "cancelled");
    waiting.await??;
    other.close().await;
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_and_a_stop_may_take_any_time() -> Result<()> {
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let worker = worker(orchestrator.database(), 1, Handlers::new().with("a", add_one)).await?;
    let task = submit(&client, "test/chain", r#"{"n": 1}"#).await?;
    client.wait(&[task], Some(Duration::MAX), |_| ()).await?;
    client.wait(&[], Some(Duration::ZERO), |_| ()).await?;
    for takers in [0, 10_001, u32::MAX] {
        let refused = Worker::start(orchestrator.database().clone(), vec![NAMESPACE.to_owned()], takers).await.err();
        assert!(matches!(refused, Some(Error::Validation { .. })), "{takers}: {refused:?}");
    }
    assert_eq!(worker.stop(Duration::MAX).await, 0);
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submit_takes_a_version_of_its_own_client_and_tells_what_was_submitted_before_it_failed() -> Result<()> {
    let db = TestDatabase::new().await?;
    let database = link(&db, &config()?).await?;
    let version = |version: &str| {
        let steps = r#"[{"name": "a", "handler": "a"}]"#;
        let json = format!(r#"{{"namespace": "test", "name": "told", "version": "{version}", "steps": {steps}}}"#);
        Workflow::from_json(&json)
    };
    let clients = ["1", "2", "3"].map(|_| Client::new(database.clone()));
    for (client, own) in clients.iter().zip(["2", "1"]) {
        client.register(&[version(own)?]).await?;
    }
    let mut session = db.session().await?;
    for (client, expected) in clients.iter().zip(["2", "1", "1"]) {
        let task = submit(client, "test/told", "{}").await?;
        let asked = "select message ->> 'version' from stepwell.queued_requests where message ->> 'task_id' = $1::text";
        assert_eq!(session.of_task::<String>(asked, task).await?, expected);
    }

    let mut requests = vec![request("test/told", "{}"); 1_500];
    requests[1_200].context = format!(r#"{{"n": 1{}}}"#, "0".repeat(140_000)); // more digits than PostgreSQL takes
    match clients[0].submit(&requests).await {
        Err(Error::PartlySubmitted { submitted, source }) => {
            let known = submitted.iter().map(Option::is_some).collect::<Vec<_>>();
            assert_eq!(known, [vec![true; 1_000], vec![false; 500]].concat());
            assert!(matches!(*source, Error::Validation { .. }), "{source}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(session.queued("task_requests").await?, 1_003);
    drop(session);
    database.close().await;
    db.finish().await
}

#[tokio::test]
async fn a_wait_for_what_is_no_task_says_so_and_one_still_in_the_queue_waits() -> Result<()> {
    let db = TestDatabase::new().await?;
    let database = link(&db, &config()?).await?;
    let client = Client::new(database.clone());
    client.register(&[chain(1)]).await?;
    let queued = submit(&client, "test/chain", "{}").await?; // there is no orchestrator to take it up

    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let error = client.wait(&[queued, first, second], Some(PATIENCE), |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTask { task_id } if task_id == first || task_id == second), "{error}");
    let error = client.wait(&[queued], Some(Duration::from_millis(10)), |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::WaitTimeout { task_id, .. } if task_id == queued), "{error}");

    database.close().await;
    db.finish().await
}
