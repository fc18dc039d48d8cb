//! Namespaces on databases of their own: each call goes where its namespace or task lives, and what is on the others
//! does not feel it.

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use stepwell::config::Namespace;
use stepwell::store::{ClaimedStep, Limits};
use stepwell::worker::Handlers;
use stepwell::{Client, Config, Databases, Error, LetterPosition, Orchestrator, Request, Worker, Workflow};
use support::runtime::{config, request, submit, wait, PATIENCE};
use support::{eventually, TestDatabase};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Nobody listens there.
const NOWHERE: &str = "postgres://app:secret@127.0.0.1:1/away";

/// Two databases: `billing` and `ledger` live on the second, everything else on the first.
struct Two {
    first: TestDatabase,
    second: TestDatabase,
    config: Config,
}

impl Two {
    async fn new() -> Result<Self> {
        let (first, second) = (TestDatabase::new().await?, TestDatabase::new().await?);
        let config = with_namespaces(&second.url())?;
        Ok(Self { first, second, config })
    }

    async fn link(&self) -> Result<Databases> {
        Ok(Databases::connect(&self.first.url(), &self.config).await?)
    }

    async fn orchestrator(&self) -> Result<Orchestrator> {
        Ok(Orchestrator::start(self.link().await?).await?)
    }

    async fn finish(self) -> Result<()> {
        self.first.finish().await?;
        self.second.finish().await
    }
}

fn with_namespaces(url: &str) -> Result<Config> {
    let mut config = config()?;
    for name in ["billing", "ledger"] {
        config.namespaces.insert(name.to_owned(), Namespace { database_url: url.to_owned(), direct_url: None });
    }
    Ok(config)
}

/// A workflow of one step, `a`, in this namespace.
fn single(namespace: &str) -> Result<Workflow> {
    let json = format!(
        r#"{{"namespace": "{namespace}", "name": "single", "version": "1", "steps": [{{"name": "a", "handler": "a"}}]}}"#
    );
    Ok(Workflow::from_json(&json)?)
}

async fn register(client: &Client, namespaces: &[&str]) -> Result<()> {
    let workflows = namespaces.iter().map(|namespace| single(namespace)).collect::<Result<Vec<_>>>()?;
    Ok(client.register(&workflows).await?)
}

fn echo() -> Handlers {
    Handlers::new().with("a", |step: Arc<ClaimedStep>| async move { Ok(step.context.clone()) })
}

async fn worker(
    databases: &Databases,
    namespaces: &[&str],
    concurrency: u32,
    handlers: Handlers,
) -> Result<Arc<Worker>> {
    let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
    Ok(Worker::start_with(databases.clone(), namespaces, concurrency, handlers).await?)
}

async fn tasks_in(db: &TestDatabase) -> Result<i64> {
    Ok(db.session().await?.value("select count(*) from stepwell.tasks").await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_tasks_and_steps_live_where_their_namespace_does() -> Result<()> {
    let two = Two::new().await?;
    let orchestrator = two.orchestrator().await?;
    let client = Client::new(orchestrator.databases().clone());
    register(&client, &["shop", "billing", "ledger"]).await?;
    let worker = worker(orchestrator.databases(), &["shop", "billing", "ledger"], 4, echo()).await?;
    let names = ["billing", "shop", "ledger", "shop", "billing"];
    let requests: Vec<Request> =
        (0..50).map(|n| request(&format!("{}/single", names[n % 5]), format!(r#"{{"n": {n}}}"#))).collect();
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|answer| answer.task_id).collect();
    wait(&client, &tasks).await?;

    // One that knows nothing of where they are.
    let link = two.link().await?;
    let stranger = Client::new(link.clone());
    wait(&stranger, &tasks).await?;
    for (n, row) in stranger.tasks(&tasks).await?.iter().flatten().enumerate() {
        assert_eq!((row.task_id, row.state.as_str()), (tasks[n], "complete"));
        assert_eq!(row.workflow, format!("{}/single", names[n % 5]), "answers come in the order of the requests");
        assert_eq!(stranger.steps(row.task_id).await?[0].result.as_deref(), Some(format!(r#"{{"n": {n}}}"#).as_str()));
    }
    assert_eq!((tasks_in(&two.first).await?, tasks_in(&two.second).await?), (20, 30));
    for (db, expected) in [(&two.first, "shop"), (&two.second, "billing,ledger")] {
        let names = "select string_agg(namespace, ',' order by namespace) from stepwell.workflows";
        assert_eq!(db.session().await?.value::<String>(names).await?, expected);
    }
    let status = orchestrator.status();
    assert_eq!(status.summary.tasks_finished, 50);
    assert_eq!(status.databases.iter().map(|it| it.summary.tasks_finished).collect::<Vec<_>>(), [20, 30]);
    assert_eq!(status.databases[1].namespaces, ["billing", "ledger"]);
    assert!(status.databases.iter().all(|it| it.running));

    let queues = client.queues().await?;
    let known: Vec<_> = queues.iter().map(|queue| queue.namespace.as_str()).collect();
    assert_eq!(known, ["billing", "ledger", "shop"]);
    assert!(queues[0].database.contains(two.second.name()));
    worker.stop(PATIENCE).await;
    link.close().await;
    orchestrator.stop().await?;
    two.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_nobody_has_taken_up_is_found_and_what_is_done_to_it_is_done_there() -> Result<()> {
    let two = Two::new().await?;
    let databases = two.link().await?;
    let client = Client::new(databases.clone());
    register(&client, &["shop", "billing"]).await?;
    let task = submit(&client, "billing/single", "{}").await?;
    let stranger = Client::new(databases.clone());
    assert_eq!(stranger.task(task).await?.state, "pending");
    let unknown = Uuid::now_v7();
    assert!(matches!(stranger.task(unknown).await, Err(Error::UnknownTask { task_id }) if task_id == unknown));
    let waited = stranger.wait(&[task, unknown], Some(PATIENCE), |_| ()).await;
    assert!(matches!(waited, Err(Error::UnknownTask { task_id }) if task_id == unknown));

    let orchestrator = two.orchestrator().await?;
    eventually("it is taken up", async || Ok((client.task(task).await?.state == "in_progress").then_some(()))).await?;
    let fresh = Client::new(databases.clone());
    assert_eq!(fresh.resolve(task, "a", "7", Some("known"), Some("anna")).await?, "resolved");
    assert_eq!(fresh.events(task).await?[0].kind, "resolve");
    let other = submit(&client, "billing/single", "{}").await?;
    eventually("it is taken up", async || Ok((client.task(other).await?.state == "in_progress").then_some(()))).await?;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait(&[task, other], Some(PATIENCE), |_| {}).await }
    });
    assert_eq!(Client::new(databases.clone()).cancel(other, None, None).await?, "cancelled");
    waiting.await??;

    assert!(client.pause("billing", None, None).await?);
    client.limit("billing", Limits { concurrency: Some(3), rate: None }, None, None).await?;
    assert_eq!(client.paused().await?, ["billing"]);
    let limits = "select concurrency from stepwell.namespaces where namespace = 'billing' and paused_at is not null";
    assert_eq!(two.second.session().await?.value::<i32>(limits).await?, 3);
    assert!(client.resume("billing", None, None).await?);
    databases.close().await;
    orchestrator.stop().await?;
    two.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_all_databases_are_one_list_and_go_back_to_their_own() -> Result<()> {
    let two = Two::new().await?;
    let orchestrator = two.orchestrator().await?;
    let client = Client::new(orchestrator.databases().clone());
    for (n, db) in [&two.first, &two.second, &two.second, &two.first].into_iter().enumerate() {
        db.session().await?.run(&format!("select pgmq.send('task_requests', '{n}')")).await?;
        eventually("it is buried", async || {
            Ok((client.dead_letters(None, 10, None).await?.len() == n + 1).then_some(()))
        })
        .await?;
    }
    let letters = client.dead_letters(None, 10, None).await?;
    assert_eq!(letters.iter().map(|letter| letter.message.as_str()).collect::<Vec<_>>(), ["3", "2", "1", "0"]);
    let mut read = client.dead_letters(None, 1, None).await?;
    while let Some(last) = read.last().filter(|_| read.len() < 4) {
        let position = LetterPosition::from(last);
        read.extend(client.dead_letters_after(None, 1, &position).await?);
    }
    assert_eq!(read.iter().map(|letter| letter.message.as_str()).collect::<Vec<_>>(), ["3", "2", "1", "0"]);
    assert!(client.dead_letters(None, 1, Some(7)).await.unwrap_err().to_string().contains("give the letter itself"));
    let same = letters[3].id;
    ensure!(letters[2].id == same, "the first of each database has the same number");
    assert!(client.replay(&[same], None, None).await.unwrap_err().to_string().contains("is in several databases"));
    let wrong = [(same, Some("postgres://elsewhere/x".to_owned()))];
    assert!(client
        .replay_letters(&wrong, None, None)
        .await
        .unwrap_err()
        .to_string()
        .contains("none of the configured"));

    orchestrator.stop().await?; // so that what is replayed stays in its queue
    let databases = two.link().await?;
    let client = Client::new(databases.clone());
    assert_eq!(client.replay_letters(&[(same, Some(letters[2].database.clone()))], None, None).await?, [same]);
    let queued = "select string_agg(message::text, ',') from pgmq.q_task_requests";
    assert_eq!(two.second.session().await?.value::<Option<String>>(queued).await?.as_deref(), Some("1"));
    assert_eq!(two.first.session().await?.value::<Option<String>>(queued).await?, None);
    assert_eq!(client.replay(&[same, 4_711], None, None).await?, [same], "only one has the number now");
    assert_eq!(two.first.session().await?.value::<Option<String>>(queued).await?.as_deref(), Some("0"));
    databases.close().await;
    two.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_does_not_hold_up_the_others() -> Result<()> {
    let first = TestDatabase::new().await?;
    let config = with_namespaces(NOWHERE)?;
    let orchestrator = Orchestrator::start(Databases::connect(&first.url(), &config).await?).await?;
    assert_eq!(orchestrator.status().databases.iter().map(|it| it.running).collect::<Vec<_>>(), [true, false]);
    assert!(!orchestrator.status().databases[1].database.contains("secret"));
    let client = Client::new(orchestrator.databases().clone());
    register(&client, &["shop", "billing"]).await?;
    let worker = worker(orchestrator.databases(), &["billing", "shop"], 2, echo()).await?;
    let started = std::time::Instant::now();
    for n in 0..20 {
        let task = submit(&client, "shop/single", &format!(r#"{{"n": {n}}}"#)).await?;
        wait(&client, &[task]).await?;
        let stranger = Client::new(orchestrator.databases().clone());
        assert_eq!(stranger.task(task).await?.state, "complete");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let refused = client.submit(&[request("billing/single", "{}")]).await;
    assert!(refused.unwrap_err().is_transient());
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;

    // Where none is there, that is an error.
    let none = Databases::connect("postgres://x@127.0.0.1:1/default", &config).await?;
    assert!(Orchestrator::start(none.clone()).await.err().context("it started")?.is_transient());
    assert!(Worker::start(none.clone(), vec!["shop".into(), "billing".into()], 1).await.is_err());
    none.close().await;
    first.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_two_databases_executes_as_many_at_a_time_as_it_says_and_starves_neither() -> Result<()> {
    let mut two = Two::new().await?;
    two.config.worker.prefetch = Duration::ZERO;
    let orchestrator = two.orchestrator().await?;
    let client = Client::new(orchestrator.databases().clone());
    register(&client, &["shop", "billing"]).await?;
    let many = |workflow: &str, count| (0..count).map(|_| request(workflow, "{}")).collect::<Vec<_>>();
    let mut requests = many("shop/single", 200);
    requests.extend(many("billing/single", 40));
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|answer| answer.task_id).collect();
    let waiting = async || Ok(client.queues().await?.iter().all(|it| it.queued > 20).then_some(()));
    eventually("steps stand in both queues", waiting).await?;

    let (gate, started) = (Arc::new(Semaphore::new(0)), Arc::new(std::sync::Mutex::new(Vec::new())));
    let handlers = Handlers::new().with("a", {
        let (gate, started) = (gate.clone(), started.clone());
        move |step: Arc<ClaimedStep>| {
            let (gate, started) = (gate.clone(), started.clone());
            async move {
                started.lock().unwrap().push(step.workflow.clone());
                gate.acquire().await.unwrap().forget();
                Ok("1".to_owned())
            }
        }
    });
    let worker = worker(orchestrator.databases(), &["shop", "billing"], 4, handlers).await?;
    let count = || started.lock().unwrap().len();
    let held = async || {
        let held = client.queues().await?.iter().map(|queue| queue.in_progress).sum::<i64>();
        Ok::<_, anyhow::Error>(held)
    };
    for n in 0..60 {
        eventually("all places are taken", async || Ok((count() == 4 + n).then_some(()))).await?;
        if n % 10 == 0 {
            // What has ended is reported a moment later.
            eventually("no more is held", async || Ok((held().await? == 4).then_some(()))).await?;
        }
        gate.add_permits(1);
    }
    let of_billing = started.lock().unwrap().iter().filter(|workflow| workflow.starts_with("billing")).count();
    assert!((20..=40).contains(&of_billing), "of 64 steps {of_billing} were the smaller database's");
    gate.add_permits(1_000);
    wait(&client, &tasks).await?;
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    two.finish().await
}
