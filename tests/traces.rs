//! Traces: one a task, from the submit to each handler, as a receiver of OTLP sees them.

#![allow(clippy::unwrap_used, reason = "a handler that cannot go on fails the test")]

#[path = "support/receiver.rs"]
#[allow(unreachable_pub, reason = "as the other modules that tests share")]
mod receiver;
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use receiver::{Received, Receiver};
use serde_json::json;
use stepwell::store::ClaimedStep;
use stepwell::telemetry::traces::TraceContext;
use stepwell::worker::{Failure, FailureKind, HandlerResult, Handlers, RetryAfter};
use stepwell::{Client, Config, Error, Request};
use support::runtime::{config, link, orchestrator, request, submit, wait, worker, PATIENCE};
use support::{chain, define, eventually, TestDatabase};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use uuid::Uuid;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn caller(flags: &str) -> Option<TraceContext> {
    Some(TraceContext { traceparent: format!("00-{TRACE}-{CALLER}-{flags}"), tracestate: Some("shop=1".to_owned()) })
}

fn traced(url: &str) -> Result<Config> {
    let mut config = config()?;
    config.traces.otlp_endpoint = Some(url.to_owned());
    config.traces.service_name = Some("till".to_owned());
    Ok(config)
}

/// Fails the first attempt of `b`, with a message that holds a password.
async fn stumble(step: Arc<ClaimedStep>) -> HandlerResult {
    if step.name == "b" && step.attempt == 1 {
        let failure = Failure::new(FailureKind::Retryable, "Boom", "no answer of postgres://app:s3cret@db/shop today");
        return Err(Failure { retry_after: Some(RetryAfter::Seconds(0.0)), ..failure });
    }
    Ok(json!(step.trace.as_ref().map(|trace| trace.context())).to_string())
}

fn stumbling(names: &[&str]) -> Handlers {
    names.iter().fold(Handlers::new(), |handlers, name| handlers.with(*name, stumble))
}

/// Submits tasks of a chain of three with these trace contexts to an orchestrator and a worker of their own, each with
/// its own link, as if in a process of its own. Returns them when all have stopped.
async fn run(db: &TestDatabase, settings: &Config, contexts: Vec<Option<TraceContext>>) -> Result<Vec<Uuid>> {
    let orchestrator = orchestrator(db, settings).await?;
    let (of_worker, of_client) = (link(db, settings).await?, link(db, settings).await?);
    let client = Client::new(of_client.clone());
    client.register(&[chain(3)]).await?;
    let worker = worker(&of_worker, 2, stumbling(&["a", "b", "c"])).await?;
    let requests: Vec<Request> =
        contexts.into_iter().map(|trace_context| Request { trace_context, ..request("test/chain", "{}") }).collect();
    let tasks: Vec<Uuid> = client.submit(&requests).await?.iter().map(|submitted| submitted.task_id).collect();
    wait(&client, &tasks).await?;
    worker.stop(PATIENCE).await;
    of_worker.close().await;
    of_client.close().await;
    orchestrator.stop().await?;
    Ok(tasks)
}

fn counts(spans: &[Received]) -> BTreeMap<&str, usize> {
    spans.iter().fold(BTreeMap::new(), |mut counts, span| {
        *counts.entry(span.name.as_str()).or_default() += 1;
        counts
    })
}

fn one<'a>(spans: &'a [Received], name: &str, attempt: Option<&str>) -> &'a Received {
    let of_attempt = |span: &&Received| attempt == span.attributes.get("stepwell.attempt").map(String::as_str);
    spans.iter().find(|span| span.name == name && of_attempt(span)).unwrap_or_else(|| panic!("no {name} {attempt:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_one_trace_from_its_submitter_to_each_attempt() -> Result<()> {
    let db = TestDatabase::new().await?;
    let receiver = Receiver::start().await?;
    let tasks = run(&db, &traced(&receiver.url())?, vec![caller("01")]).await?;

    let spans = receiver.spans();
    let expected = [
        ("apply a", 1),
        ("apply b", 2),
        ("apply c", 1),
        ("claim a", 1),
        ("claim b", 2),
        ("claim c", 1),
        ("execute a", 1),
        ("execute b", 2),
        ("execute c", 1),
        ("initialize test/chain", 1),
        ("report a", 1),
        ("report b", 2),
        ("report c", 1),
        ("submit test/chain", 1),
    ];
    assert_eq!(counts(&spans), expected.into());
    let submit = one(&spans, "submit test/chain", None);
    assert_eq!((submit.parent.as_str(), submit.kind), (CALLER, 4));
    for span in &spans {
        assert_eq!((span.trace.as_str(), span.service.as_str()), (TRACE, "till"));
        assert_eq!(span.attributes["stepwell.task_id"], tasks[0].to_string(), "{span:?}");
        assert_eq!(span.attributes["stepwell.workflow"], "test/chain");
        assert_eq!(span.attributes["stepwell.namespace"], "test");
        assert!(span.times.0 <= span.times.1, "{span:?}");
    }
    assert_eq!(one(&spans, "initialize test/chain", None).parent, submit.id);
    for (step, attempt) in [("a", "1"), ("b", "1"), ("b", "2"), ("c", "1")] {
        let of = |hop: &str| one(&spans, &format!("{hop} {step}"), Some(attempt));
        let execute = of("execute");
        assert_eq!((execute.parent.as_str(), of("claim").parent.as_str()), (submit.id.as_str(), submit.id.as_str()));
        assert_eq!(
            (of("report").parent.as_str(), of("apply").parent.as_str()),
            (execute.id.as_str(), execute.id.as_str())
        );
        assert_eq!((execute.attributes["stepwell.step"].as_str(), execute.kind), (step, 5));
        let failed = (step, attempt) == ("b", "1");
        assert_eq!(of("apply").attributes["stepwell.outcome"], if failed { "retryable" } else { "complete" });
        assert_eq!(execute.error.is_some(), failed);
    }
    let failed = one(&spans, "execute b", Some("1"));
    assert_eq!(failed.error.as_deref(), Some("Boom: no answer of postgres://app:***@db/shop today"));
    assert_eq!(failed.attributes["error.type"], "Boom");
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_begins_at_the_submit_where_the_submitter_is_in_none() -> Result<()> {
    let db = TestDatabase::new().await?;
    let receiver = Receiver::start().await?;
    run(&db, &traced(&receiver.url())?, vec![None, None]).await?;

    let spans = receiver.spans();
    let mut traces: Vec<_> = spans.iter().filter(|span| span.name == "submit test/chain").collect();
    traces.iter().for_each(|submit| assert_eq!(submit.parent, "", "{submit:?}"));
    traces.dedup_by_key(|submit| submit.trace.clone());
    assert_eq!(traces.len(), 2, "a trace each");
    for submit in traces {
        assert_eq!(spans.iter().filter(|span| span.trace == submit.trace).count(), 18);
    }
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sampled_out_sends_nothing() -> Result<()> {
    let db = TestDatabase::new().await?;
    let receiver = Receiver::start().await?;
    let mut settings = traced(&receiver.url())?;
    let unwanted = run(&db, &settings, vec![caller("00")]).await?;
    settings.traces.sample_ratio = 0.0;
    run(&db, &settings, vec![None]).await?;
    assert!(receiver.spans().is_empty(), "{:?}", receiver.spans());

    run(&db, &settings, vec![caller("01")]).await?;
    assert_eq!(receiver.spans().len(), 18, "the submitter decides where there is one");
    let mut session = db.session().await?;
    let kept = "select trace_context ->> 'traceparent' from stepwell.tasks where task_id = $1";
    let kept: String = session.of_task(kept, unwanted[0]).await?;
    assert!(kept.starts_with(&format!("00-{TRACE}-")) && kept.ends_with("-00"), "{kept}");
    drop(session);
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_context_reaches_handlers_where_nothing_is_exported() -> Result<()> {
    let db = TestDatabase::new().await?;
    let settings = config()?;
    let tasks = run(&db, &settings, vec![caller("01"), None]).await?;
    let database = link(&db, &settings).await?;
    let client = Client::new(database.clone());
    let seen: Option<TraceContext> = serde_json::from_str(client.steps(tasks[0]).await?[2].result.as_deref().unwrap())?;
    assert_eq!(seen, caller("01"));
    assert_eq!(client.steps(tasks[1]).await?[2].result.as_deref(), Some("null"));
    database.close().await;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_trace_context_is_refused_or_ignored() -> Result<()> {
    let db = TestDatabase::new().await?;
    let receiver = Receiver::start().await?;
    let settings = traced(&receiver.url())?;
    let orchestrator = orchestrator(&db, &settings).await?;
    let client = Client::new(orchestrator.database().clone());
    client.register(&[chain(1)]).await?;
    let wrong = TraceContext { traceparent: "00-1".to_owned(), tracestate: None };
    let refused = client.submit(&[Request { trace_context: Some(wrong), ..request("test/chain", "{}") }]).await;
    let Err(Error::Validation { problems, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(problems[0].field, "trace_context.traceparent");

    let mut session = db.session().await?;
    for trace in [r#"{"traceparent": "00-1"}"#, "7", "[]", r#"{"traceparent": {}}"#] {
        session.submit(&[format!(r#"{{"workflow": "test/chain", "trace_context": {trace}}}"#)]).await?;
    }
    let tasks = session.column("select task_id from stepwell.task_status union select (message ->> 'task_id')::uuid from stepwell.queued_requests").await?;
    let worker = worker(orchestrator.database(), 1, stumbling(&["a"])).await?;
    wait(&client, &tasks).await?;
    assert_eq!(client.steps(tasks[0]).await?[0].result.as_deref(), Some("null"));
    drop(session);
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    assert!(receiver.spans().is_empty(), "{:?}", receiver.spans());
    db.finish().await
}

/// The log lines of this program: each event with its fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_away_is_told_of_once_and_holds_nothing_up() -> Result<()> {
    let lines = Lines::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines.clone()))?;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let db = TestDatabase::new().await?;
    let settings = traced(&format!("http://{nobody}"))?;
    let orchestrator = orchestrator(&db, &settings).await?;
    let database = orchestrator.database();
    let client = Client::new(database.clone());
    client.register(&[define("chain", json!([{ "name": "a" }]))]).await?;
    let worker = worker(database, 1, stumbling(&["a"])).await?;
    for _ in 0..3 {
        let lost = database.lost_spans();
        let task = submit(&client, "test/chain", "{}").await?;
        wait(&client, &[task]).await?;
        eventually("spans are counted as lost", async || Ok((database.lost_spans() > lost).then_some(()))).await?;
    }
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    let log = lines.0.lock().unwrap().clone();
    let told: Vec<_> = log.iter().filter(|line| line.contains(&nobody.to_string())).collect();
    assert_eq!(told.len(), 1, "{log:?}");
    assert!(told[0].starts_with("WARN") && told[0].contains("does not take spans"), "{told:?}");
    db.finish().await
}
