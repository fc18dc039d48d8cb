//! `stepwell queues` and `stepwell limit`.

use std::time::Duration;

use serde::Serialize;
use stepwell::store::{Limits, QueueStatus};

use crate::arguments::Limit;
use crate::failure::{Failure, DONE};
use crate::humane;
use crate::output::{styled, styles};
use crate::session::Session;
use crate::table::Table;

#[derive(Serialize)]
struct View {
    namespace: String,
    queued: i64,
    oldest_at: Option<String>,
    ready: i64,
    keyed: i64,
    in_progress: i64,
    paused_at: Option<String>,
    concurrency: Option<i32>,
    rate: Option<i32>,
    /// Seconds.
    rate_period: Option<f64>,
    waits_for: Option<String>,
}

impl From<QueueStatus> for View {
    fn from(queue: QueueStatus) -> Self {
        Self {
            namespace: queue.namespace,
            queued: queue.queued,
            oldest_at: queue.oldest_at.map(humane::timestamp),
            ready: queue.ready,
            keyed: queue.keyed,
            in_progress: queue.in_progress,
            paused_at: queue.paused_at.map(humane::timestamp),
            concurrency: queue.concurrency,
            rate: queue.rate,
            rate_period: queue.rate_period.map(|period| Duration::from_micros(period.unsigned_abs()).as_secs_f64()),
            waits_for: queue.waits_for,
        }
    }
}

pub(crate) async fn list(session: &Session) -> Result<u8, Failure> {
    let output = session.output;
    let (queues, backlog) = session
        .connected(async |link| Ok((link.client.queues().await?, link.database.store().backlog().await?)))
        .await?;
    if output.is_json() {
        output.json(&queues.into_iter().map(View::from).collect::<Vec<_>>())?;
        return Ok(DONE);
    }
    if queues.is_empty() {
        output.note("There are no namespaces yet: one exists from its first workflow or worker.");
    } else {
        output.line(table(session, queues))?;
    }
    if let Some(note) = backlog_note(backlog) {
        output.note(note);
    }
    Ok(DONE)
}

/// What a person should know of requests that are no tasks yet.
pub(crate) fn backlog_note(backlog: stepwell::store::Backlog) -> Option<String> {
    let since = backlog.oldest_at.map(humane::ago)?;
    let waiting = humane::count(usize::try_from(backlog.requests).unwrap_or(0), "more request");
    Some(format!("{waiting} wait for an orchestrator (the oldest came {since}); does `stepwell serve` run?"))
}

fn table(session: &Session, queues: Vec<QueueStatus>) -> String {
    let headers = ["namespace", "waiting", "queued", "oldest", "in progress", "limits", "waits for"];
    let mut table = Table::new(session.output, &headers);
    for queue in queues {
        let limits = [
            queue.paused_at.map(|since| styled(styles::DOUBTFUL, format!("paused {}", humane::ago(since)))),
            queue.concurrency.map(|steps| format!("{steps} at a time")),
            rate(&queue),
        ];
        table.row([
            queue.namespace,
            counted(queue.ready + queue.keyed),
            counted(queue.queued),
            queue.oldest_at.map(humane::ago).unwrap_or_default(),
            number(queue.in_progress),
            limits.into_iter().flatten().collect::<Vec<_>>().join(", "),
            queue.waits_for.unwrap_or_default(),
        ]);
    }
    table.render(&[1, 2, 3, 4])
}

/// Not all are counted: `10,000+`.
fn counted(number: i64) -> String {
    match number {
        QueueStatus::MOST.. => "10,000+".to_owned(),
        fewer => self::number(fewer),
    }
}

fn number(number: i64) -> String {
    match number {
        0 => styled(styles::FAINT, 0),
        number => number.to_string(),
    }
}

fn rate(queue: &QueueStatus) -> Option<String> {
    let (steps, period) = queue.rate.zip(queue.rate_period)?;
    Some(format!("{steps} in {}", humane::duration(Duration::from_micros(period.unsigned_abs()))))
}

pub(crate) async fn limit(session: &Session, arguments: &Limit) -> Result<u8, Failure> {
    let (output, namespace) = (session.output, &arguments.namespace);
    let limits =
        Limits { concurrency: arguments.concurrency, rate: arguments.rate.map(|steps| (steps, arguments.period)) };
    let (reason, actor) = (arguments.why.reason.as_deref(), arguments.why.actor.as_deref());
    let queue = session
        .connected(async |link| {
            link.client.limit(namespace, limits, reason, actor).await?;
            Ok(link.client.queues().await?.into_iter().find(|queue| queue.namespace == *namespace))
        })
        .await?;
    let Some(queue) = queue else { return Ok(DONE) };
    if output.is_json() {
        output.json(&View::from(queue))?;
        return Ok(DONE);
    }
    let limits = [queue.concurrency.map(|steps| format!("{steps} steps at a time")), rate(&queue)];
    let limits = limits.into_iter().flatten().collect::<Vec<_>>().join(", ");
    output.line(match limits.is_empty() {
        true => format!("{namespace} has no limits."),
        false => format!("{namespace} is limited: {limits}."),
    })?;
    Ok(DONE)
}
