//! What Prometheus reads, whether the loops turn, and what an orchestrator tells of itself.

#![allow(clippy::unwrap_used, reason = "a handler that cannot go on fails the test")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{json, Value};
use stepwell::embedded::{Cluster, Options};
use stepwell::store::ClaimedStep;
use stepwell::telemetry::metrics::{self, Kind, FAMILIES};
use stepwell::worker::{Failure, FailureKind, HandlerResult, Handlers};
use stepwell::{Client, Config, Database, Databases, Orchestrator};
use support::runtime::{config, link, orchestrator, request, submit, wait, worker, PATIENCE};
use support::{chain, define, eventually, TestDatabase};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations");

/// The sum of the samples of this name that have all of these labels; none when there is none.
fn value(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let (sample, value) = line.rsplit_once(' ')?;
        let (found, of) = sample.split_once('{').unwrap_or((sample, ""));
        (found == name && labels.iter().all(|label| of.contains(label))).then(|| value.parse::<f64>().unwrap())
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or_default() + value))
}

/// The samples, with a sum for each name and labels given, until the last is as expected.
async fn expect(links: &[Databases], expected: &[(&str, &[&str], f64)]) -> Result<String> {
    let mut last = String::new();
    let told = eventually("the metrics are as expected", async || {
        let text = metrics::text(links).await;
        let wrong: Vec<String> = expected
            .iter()
            .filter(|(name, labels, expected)| value(&text, name, labels) != Some(*expected))
            .map(|(name, labels, expected)| {
                format!("{name}{labels:?}: {:?}, not {expected}", value(&text, name, labels))
            })
            .collect();
        last = wrong.join("\n");
        Ok(wrong.is_empty().then_some(text))
    });
    told.await.map_err(|error| error.context(last))
}

/// Steps that do as they are called.
fn handlers() -> Handlers {
    let fails = |kind| {
        move |step: Arc<ClaimedStep>| async move {
            match step.attempt {
                1 => Err(Failure::new(kind, "Error", "as asked")),
                _ => HandlerResult::Ok("1".into()),
            }
        }
    };
    let works = |_: Arc<ClaimedStep>| async { HandlerResult::Ok("1".into()) };
    ["a", "b", "c"]
        .into_iter()
        .fold(Handlers::new(), |handlers, name| handlers.with(name, works))
        .with("stumbles", fails(FailureKind::Retryable))
        .with("breaks", fails(FailureKind::Permanent))
        .with("is_late", |step: Arc<ClaimedStep>| async move {
            if step.attempt == 1 {
                tokio::time::sleep(PATIENCE).await;
            }
            HandlerResult::Ok("1".into())
        })
}

fn single(name: &str) -> stepwell::Workflow {
    let quickly = json!({ "base": 0.01, "cap": 0.01 });
    define(name, json!([{ "name": name, "backoff": quickly, "timeout": if name == "is_late" { 0.02 } else { 60.0 } }]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_counted() -> Result<()> {
    let db = TestDatabase::new().await?;
    let config = config()?;
    let orchestrator = orchestrator(&db, &config).await?;
    let (of_worker, of_client) = (link(&db, &config).await?, link(&db, &config).await?);
    let client = Client::new(of_client.clone());
    client.register(&[chain(3), single("stumbles"), single("breaks"), single("is_late")]).await?;
    let worker = worker(&of_worker, 4, handlers()).await?;
    let chains: Vec<_> = (0..10).map(|_| request("test/chain", "{}")).collect();
    let mut tasks: Vec<Uuid> = client.submit(&chains).await?.iter().map(|it| it.task_id).collect();
    for workflow in ["test/stumbles", "test/breaks", "test/is_late"] {
        tasks.push(submit(&client, workflow, "{}").await?);
    }
    wait(&client, &tasks).await?;
    // What keeps its key is no second task.
    let keyed = [stepwell::Request { idempotency_key: Some("k".into()), ..request("test/chain", "{}") }];
    for _again in 0..2 {
        wait(&client, &[client.submit(&keyed).await?[0].task_id]).await?;
    }
    worker.quiet().await;
    let given_up = submit(&client, "test/chain", "{}").await?;
    let mut session = db.session().await?;
    eventually("its first step is enqueued", async || Ok((session.queued("test_queue").await? == 1).then_some(())))
        .await?;
    session.send("step_results", "{}").await?; // of no use

    let links = [orchestrator.databases().clone(), of_worker.clone().into(), of_client.clone().into()];
    let text = expect(
        &links,
        &[
            ("stepwell_tasks_submitted_total", &[r#"namespace="test""#], 15.0),
            ("stepwell_tasks_started_total", &[], 15.0),
            ("stepwell_tasks_finished_total", &[r#"outcome="complete""#], 13.0),
            ("stepwell_tasks_finished_total", &[r#"outcome="error""#], 1.0),
            ("stepwell_steps_finished_total", &[r#"outcome="complete""#], 35.0),
            ("stepwell_steps_finished_total", &[r#"outcome="error""#], 1.0),
            ("stepwell_retries_total", &[r#"reason="failure""#], 1.0),
            ("stepwell_retries_total", &[r#"reason="timeout""#], 1.0),
            ("stepwell_retries_total", &[r#"reason="lost_lease""#], 0.0),
            ("stepwell_dead_letters_total", &[], 1.0),
            ("stepwell_dead_letters_stored", &[], 1.0),
            ("stepwell_attempts_started_total", &[r#"namespace="test""#], 38.0),
            ("stepwell_attempts_finished_total", &[r#"outcome="complete""#], 35.0),
            ("stepwell_attempts_finished_total", &[r#"outcome="retryable""#], 1.0),
            ("stepwell_attempts_finished_total", &[r#"outcome="permanent""#], 1.0),
            ("stepwell_attempts_finished_total", &[r#"outcome="timeout""#], 1.0),
            ("stepwell_ready_to_start_seconds_count", &[r#"namespace="test""#], 38.0),
            ("stepwell_submit_to_start_seconds_count", &[], 14.0),
            ("stepwell_submit_to_finish_seconds_count", &[], 14.0),
            ("stepwell_attempt_duration_seconds_count", &[], 38.0),
            ("stepwell_hop_batch_size_sum", &[r#"hop="submit""#], 16.0),
            ("stepwell_hop_batch_size_sum", &[r#"hop="initialize""#], 15.0),
            ("stepwell_hop_batch_size_sum", &[r#"hop="claim""#], 38.0),
            ("stepwell_hop_batch_size_sum", &[r#"hop="report""#], 38.0),
            ("stepwell_hop_batch_size_sum", &[r#"hop="apply""#], 39.0),
            ("stepwell_hop_batch_size_sum", &[r#"hop="wake""#], 2.0),
            ("stepwell_worker_slots", &[], 4.0),
            ("stepwell_worker_slots_busy", &[], 0.0),
            ("stepwell_worker_steps_at_hand", &[], 0.0),
            ("stepwell_database_up", &[], 1.0),
            ("stepwell_queue_depth", &[r#"queue="steps""#, r#"namespace="test""#], 1.0),
            ("stepwell_queue_depth", &[r#"queue="requests""#], 0.0),
            ("stepwell_queue_messages_total", &[r#"namespace="test""#], 39.0),
            ("stepwell_queue_messages_total", &[r#"queue="requests""#], 15.0),
            ("stepwell_steps_waiting", &[r#"namespace="test""#], 0.0),
            ("stepwell_steps_in_progress", &[r#"namespace="test""#], 0.0),
            ("stepwell_database_connections_max", &[], 30.0),
            ("stepwell_loop_late", &[], 0.0),
        ],
    )
    .await?;
    assert!(value(&text, "stepwell_hop_duration_seconds_sum", &[r#"hop="apply""#]).unwrap() > 0.0);
    assert!(value(&text, "stepwell_queue_oldest_age_seconds", &[r#"queue="steps""#]).unwrap() > 0.0);
    assert!(value(&text, "stepwell_submit_to_finish_seconds_sum", &[]).unwrap() < 14.0 * 60.0);
    assert!(value(&text, "stepwell_ready_to_start_seconds_sum", &[]).unwrap() < 38.0 * 60.0);
    let label = format!("{}\"", db.name());
    assert!(text.lines().filter(|line| !line.starts_with('#')).all(|line| line.contains(&label)), "{text}");
    assert_all_are_exported(&text);

    assert_eq!(client.cancel(given_up, None, None).await?, "cancelled");
    let resolved = submit(&client, "test/stumbles", "{}").await?;
    eventually("it can be resolved", async || Ok(client.resolve(resolved, "stumbles", "1", None, None).await.ok()))
        .await?;
    expect(
        &links,
        &[
            ("stepwell_tasks_finished_total", &[r#"outcome="cancelled""#], 1.0),
            ("stepwell_tasks_finished_total", &[r#"outcome="resolved""#], 1.0),
        ],
    )
    .await?;
    worker.stop(PATIENCE).await;
    of_worker.close().await;
    of_client.close().await;
    orchestrator.stop().await?;
    drop(session);
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_no_queue_is_counted_too() -> Result<()> {
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(3)]).await?;
    let worker = worker(orchestrator.database(), 2, handlers()).await?;
    let links = [orchestrator.databases().clone()];
    let mut tasks = 0.0;
    // The first may come before the worker has found its queue empty.
    let text = eventually("a task that begins with its submit", async || {
        wait(&client, &[submit(&client, "test/chain", "{}").await?]).await?;
        tasks += 1.0;
        let text = metrics::text(&links).await;
        let begun = value(&text, "stepwell_hop_batch_size_sum", &[r#"hop="begin""#]);
        Ok((begun > Some(0.0)).then_some(text))
    })
    .await?;
    let hop = |label: &str| value(&text, "stepwell_hop_batch_size_sum", &[label]).unwrap_or(0.0);
    assert_eq!(hop(r#"hop="begin""#), 1.0);
    assert_eq!(hop(r#"hop="submit""#), tasks - 1.0);
    assert_eq!(hop(r#"hop="initialize""#), tasks - 1.0);
    assert_eq!(hop(r#"hop="settle""#), tasks * 3.0);
    assert_eq!(hop(r#"hop="report""#), 0.0);
    assert_eq!(value(&text, "stepwell_tasks_submitted_total", &[]), Some(tasks));
    assert_eq!(value(&text, "stepwell_tasks_started_total", &[]), Some(tasks));
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    db.finish().await
}

fn assert_all_are_exported(text: &str) {
    let exported: BTreeSet<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let known: BTreeSet<(&str, &str)> = FAMILIES.iter().map(|family| (family.name, kind(family.kind))).collect();
    assert_eq!(exported, known);
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_loses_its_lease() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.start(&chain(1)).await?;
    session.claim_as("dead", 1, "1 ms").await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    expect(
        &[orchestrator.databases().clone()],
        &[
            ("stepwell_lost_leases_total", &[], 1.0),
            ("stepwell_retries_total", &[r#"reason="lost_lease""#], 1.0),
            ("stepwell_hop_batch_size_sum", &[r#"hop="recover""#], 1.0),
        ],
    )
    .await?;
    let status = orchestrator.status();
    let warnings: Vec<_> = status.summary.warnings.iter().map(|it| (it.component, it.message.as_str())).collect();
    assert_eq!(
        warnings,
        [("upkeep", "a worker stopped sending heartbeats: 1 steps were recovered, 0 failed")],
        "{status:?}"
    );
    orchestrator.stop().await?;
    drop(session);
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_orchestrators_on_one_database_are_added_up_and_its_queues_are_not() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (one, two) = (orchestrator(&db, &config()?).await?, orchestrator(&db, &config()?).await?);
    let client = Client::new(one.database().clone());
    client.register(&[chain(1)]).await?;
    let requests: Vec<_> = (0..50).map(|_| request("test/chain", "{}")).collect();
    client.submit(&requests).await?;
    let links = [one.databases().clone(), two.databases().clone(), one.databases().clone()];
    let label = [r#"namespace="test""#];
    for alone in &links[..2] {
        expect(std::slice::from_ref(alone), &[("stepwell_queue_depth", &label, 50.0)]).await?;
    }
    expect(&links, &[("stepwell_tasks_started_total", &[], 50.0)]).await?;
    let both = metrics::text(&links).await;
    assert_eq!(value(&both, "stepwell_queue_depth", &label), Some(50.0), "what both were told counts once");
    let alone = metrics::text(&links[..1]).await;
    assert!(value(&alone, "stepwell_tasks_started_total", &[]).unwrap() <= 50.0);
    one.stop().await?;
    two.stop().await?;
    db.finish().await
}

#[tokio::test]
async fn an_orchestrators_role_may_ask() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.register(&chain(1)).await?;
    let role = format!("watcher_{}", db.name());
    session.run(&format!("create role {role}; select stepwell.grant_role('{role}', 'orchestrator')")).await?;
    session.run(&format!("set role {role}")).await?;
    let queues: Vec<String> = session.column("select queue from stepwell.queue_metrics(10)").await?;
    assert_eq!(queues, ["step_results", "task_requests", "test_queue"]);
    assert_eq!(session.value::<i64>("select dead_letters from stepwell.database_metrics(10)").await?, 0);
    session.run(&format!("reset role; drop owned by {role}; drop role {role}")).await?;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn an_old_transaction_is_seen() -> Result<()> {
    let db = TestDatabase::new().await?;
    let (mut session, mut old) = (db.session().await?, db.session().await?);
    let age = "select oldest_snapshot_age from stepwell.database_metrics(10)";
    assert!(session.value::<f64>(age).await? < 1.0);
    old.run("begin isolation level repeatable read; select 1").await?;
    eventually("it grows old", async || Ok((session.value::<f64>(age).await? > 0.05).then_some(()))).await?;
    old.run("rollback").await?;
    assert!(session.value::<f64>(age).await? < 0.05);
    drop((session, old));
    db.finish().await
}

/// One request: status, content type, body.
async fn get(address: SocketAddr, path: &str) -> Result<(u16, String, String)> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
    Ok((status, content_type.to_owned(), body.to_owned()))
}

async fn health(address: SocketAddr, path: &str) -> Result<(u16, Value)> {
    let (status, content_type, body) = get(address, path).await?;
    assert_eq!(content_type, "application/json");
    Ok((status, serde_json::from_str(&body)?))
}

async fn until_health(address: SocketAddr, path: &str, status: u16) -> Result<Value> {
    eventually(&format!("{path} is {status}"), async || {
        let (found, body) = health(address, path).await?;
        Ok((found == status).then_some(body))
    })
    .await
}

fn impatient(mut config: Config) -> Config {
    config.orchestrator.polling_interval = Duration::from_millis(20);
    config.metrics.late_after = Duration::from_millis(500);
    config.metrics.hung_after = Duration::from_secs(2);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn http_answers_what_it_is_asked_and_nothing_else() -> Result<()> {
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &config()?).await?;
    let http = metrics::serve("127.0.0.1:0".parse()?, orchestrator.databases().clone()).await?;
    let (status, content_type, body) = get(http.address(), "/metrics").await?;
    assert_eq!((status, content_type.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(value(&body, "stepwell_build_info", &[env!("CARGO_PKG_VERSION")]), Some(1.0));
    assert_eq!(get(http.address(), "/").await?.0, 404);
    let mut stream = tokio::net::TcpStream::connect(http.address()).await?;
    stream.write_all(b"POST /metrics HTTP/1.0\r\ncontent-length: 0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    assert!(answer.starts_with("HTTP/1.0 405") || answer.starts_with("HTTP/1.1 405"), "{answer}");
    let taken = metrics::serve(http.address(), orchestrator.databases().clone()).await;
    assert!(taken.unwrap_err().to_string().starts_with(&format!("metrics.listen {}", http.address())));
    http.stop().await;
    assert!(tokio::net::TcpStream::connect(http.address()).await.is_err(), "nobody listens any more");
    orchestrator.stop().await?;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_a_lock_holds_is_late_and_then_hangs() -> Result<()> {
    let db = TestDatabase::new().await?;
    let orchestrator = orchestrator(&db, &impatient(config()?)).await?;
    let http = metrics::serve("127.0.0.1:0".parse()?, orchestrator.databases().clone()).await?;
    let ready = until_health(http.address(), "/health/ready", 200).await?;
    assert_eq!((&ready["status"], &ready["databases"][0]["reachable"]), (&json!("ok"), &json!(true)));
    let loops: BTreeSet<&str> =
        ready["databases"][0]["loops"].as_array().unwrap().iter().map(|it| it["loop"].as_str().unwrap()).collect();
    assert_eq!(loops, BTreeSet::from(["requests", "results", "retention", "upkeep"]));
    assert_eq!(health(http.address(), "/health/live").await?.0, 200);

    let mut holder = db.session().await?;
    holder.run("begin; lock table pgmq.q_step_results in access exclusive mode").await?;
    let ready = until_health(http.address(), "/health/ready", 503).await?;
    assert_eq!(ready["status"], "late");
    assert!(ready["trouble"][0].as_str().unwrap().starts_with("the loop results is late"), "{ready}");
    assert_eq!(ready["trouble"].as_array().unwrap().len(), 1, "{ready}");
    let live = until_health(http.address(), "/health/live", 503).await?;
    assert_eq!(live["status"], "hung");
    assert!(live["trouble"][0].as_str().unwrap().starts_with("the loop results hangs"), "{live}");
    let links = [orchestrator.databases().clone()];
    let late = metrics::text(&links).await;
    assert_eq!(value(&late, "stepwell_loop_late", &[r#"loop="results""#]), Some(1.0));
    assert_eq!(value(&late, "stepwell_loop_late", &[r#"loop="requests""#]), Some(0.0));

    holder.run("rollback").await?;
    until_health(http.address(), "/health/ready", 200).await?;
    assert_eq!(health(http.address(), "/health/live").await?.0, 200);
    drop(holder);
    http.stop().await;
    orchestrator.stop().await?;
    db.finish().await
}

/// A private PostgreSQL, removed at the end.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_is_stopped_is_no_reason_to_restart() -> Result<()> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("metrics-{}", std::process::id()));
    let _folder = Folder(directory.clone());
    let options = Options { directory, ..Options::default() };
    let cluster = Cluster::start(&options).await?;
    let mut config = impatient(config()?);
    config.database.connect_timeout = Duration::from_secs(1);
    config.metrics.hung_after = Duration::from_secs(7); // longer than a failed connection and the pause after it
    let database = Database::connect(cluster.url(), &config).await?;
    let orchestrator = Orchestrator::start(database).await?;
    let http = metrics::serve("127.0.0.1:0".parse()?, orchestrator.databases().clone()).await?;
    until_health(http.address(), "/health/ready", 200).await?;

    cluster.stop().await?;
    let ready = until_health(http.address(), "/health/ready", 503).await?;
    assert_eq!(ready["status"], "unreachable");
    assert_eq!(ready["databases"][0]["reachable"], false);
    let ready = eventually("the loops are late", async || {
        let (_, ready) = health(http.address(), "/health/ready").await?;
        Ok((ready["trouble"].as_array().unwrap().len() >= 4).then_some(ready))
    })
    .await?;
    assert!(ready["trouble"].to_string().contains("the loop results is late"), "{ready}");
    // Longer than a loop that hangs is let be.
    let turns = async || -> Result<f64> {
        let (status, live) = health(http.address(), "/health/live").await?;
        assert_eq!((status, &live["status"]), (200, &json!("ok")), "{live}");
        let loops = live["databases"][0]["loops"].as_array().unwrap().clone();
        let results = loops.iter().find(|it| it["loop"] == "results").context("no such loop")?;
        Ok(results["since_success"].as_f64().unwrap())
    };
    eventually("it has been away for a while", async || Ok((turns().await? > 8.0).then_some(()))).await?;
    let links = [orchestrator.databases().clone()];
    let text = metrics::text(&links).await;
    assert_eq!(value(&text, "stepwell_database_up", &[]), Some(0.0));
    assert_eq!(value(&text, "stepwell_queue_depth", &[]), None, "nobody knows");
    let warnings = orchestrator.status().summary.warnings;
    assert!(!warnings.is_empty() && warnings.len() <= 4, "one for all loops: {warnings:?}");

    let cluster = Cluster::start(&options).await?;
    until_health(http.address(), "/health/ready", 200).await?;
    http.stop().await;
    orchestrator.stop().await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_rates_and_the_busiest_namespaces() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session.start(&chain(2)).await?; // before: not of this orchestrator's time
    let orchestrator = orchestrator(&db, &config()?).await?;
    eventually("the orchestrator has looked", async || {
        let text = metrics::text(&[orchestrator.databases().clone()]).await;
        Ok(value(&text, "stepwell_queue_messages_total", &[r#"namespace="test""#]).filter(|sent| *sent == 1.0))
    })
    .await?;
    let client = Client::new(orchestrator.database().clone());
    let worker = worker(orchestrator.database(), 4, handlers()).await?;
    let requests: Vec<_> = (0..20).map(|_| request("test/chain", "{}")).collect();
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|it| it.task_id).collect();
    wait(&client, &tasks).await?;
    let summary = eventually("the queues were looked at", async || {
        orchestrator.look().await;
        let summary = serde_json::to_value(orchestrator.status().summary)?;
        Ok((summary["namespaces"][0]["steps"] == 41).then_some(summary))
    })
    .await?;
    assert_eq!(summary["namespaces"], json!([{ "namespace": "test", "steps": 41 }]), "{summary}");
    assert_eq!(summary["tasks_finished"], 21, "{summary}");
    for rate in ["tasks_started", "tasks_finished", "steps_completed"] {
        assert!(summary["rates"][rate].as_f64().unwrap() > 0.0, "{summary}");
    }
    assert_eq!((&summary["rates"]["failures"], &summary["warnings"]), (&json!(0.0), &json!([])), "{summary}");
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    drop(session);
    db.finish().await
}

/// Every name of a metric in a text, without what a histogram's samples add.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    text.split(word)
        .filter(|word| word.starts_with("stepwell_"))
        .map(|word| {
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            let known = |name: &&str| FAMILIES.iter().any(|family| family.name == *name);
            histogram.filter(known).unwrap_or(word).to_owned()
        })
        .collect()
}

fn document(name: &str) -> Result<String> {
    std::fs::read_to_string(Path::new(DOCS).join(name)).context(name.to_owned())
}

#[test]
fn the_table_of_metrics_tells_all_of_them_as_they_are() -> Result<()> {
    let document = document("metrics.md")?;
    let table: BTreeSet<&str> = document.lines().filter(|line| line.starts_with("| `stepwell_")).collect();
    let expected: Vec<String> = FAMILIES
        .iter()
        .map(|family| {
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {} | {} | {} |", family.name, kind(family.kind), labels.join(", "), family.help)
        })
        .collect();
    assert_eq!(
        table,
        expected.iter().map(String::as_str).collect(),
        "the lines of the table:\n{}",
        expected.join("\n")
    );
    let known: BTreeSet<String> = FAMILIES.iter().map(|family| family.name.to_owned()).collect();
    assert_eq!(names(&document), known);
    Ok(())
}

#[test]
fn dashboard_and_alerts_use_metrics_that_there_are() -> Result<()> {
    let known: BTreeSet<String> = FAMILIES.iter().map(|family| family.name.to_owned()).collect();
    for name in ["grafana-dashboard.json", "alerts.yml"] {
        let used = names(&document(name)?);
        assert!(used.len() > 5 && used.is_subset(&known), "{name}: {:?}", used.difference(&known));
    }
    let dashboard: Value = serde_json::from_str(&document("grafana-dashboard.json")?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["title"].is_string() && panel["gridPos"].is_object(), "{panel}");
        let targets = panel["targets"].as_array().context("no targets")?;
        assert!(targets.iter().all(|it| it["expr"].as_str().is_some_and(|expr| expr.contains("stepwell_"))), "{panel}");
    }
    Ok(())
}

#[test]
fn alerts_are_rules_of_prometheus() -> Result<()> {
    let path = Path::new(DOCS).join("alerts.yml");
    let yaml = stepwell::yaml::to_json(&std::fs::read_to_string(&path)?).map_err(anyhow::Error::msg)?;
    let rules: Value = serde_json::from_str(&yaml)?;
    let groups = rules["groups"].as_array().context("no groups")?;
    let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(rules.len() >= 8);
    for rule in rules {
        let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        assert!(text(&rule["alert"]) && text(&rule["expr"]) && text(&rule["for"]), "{rule}");
        assert!(text(&rule["annotations"]["summary"]) && text(&rule["annotations"]["description"]), "{rule}");
        assert!(["warning", "critical"].iter().any(|it| rule["labels"]["severity"] == *it), "{rule}");
    }
    // Where the tools of Prometheus are installed they have the last word.
    match std::process::Command::new("promtool").args(["check", "rules"]).arg(&path).output() {
        Ok(checked) => assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr)),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
    Ok(())
}
