//! The request loop: `task_requests` -> tasks, steps, and the root steps' queues. A client of the same process can bring its request
//! past the queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::CancellationToken;

use super::finished::Finished;
use super::hop_loop::{self, Hop};
use super::summary::Totals;
use crate::database::Database;
use crate::error::Result;
use crate::signals::{lock, Topic};
use crate::store::{Appetite, Initialized, Submitted, UnvalidatedTask};
use crate::telemetry::metrics;
use crate::worker::Taker;
use crate::workflow::InputSchema;

/// Compiled input schemas that are kept; beyond it all are forgotten.
const SCHEMAS: usize = 200;

/// Requests, and who hears what became of them.
#[derive(Debug)]
pub(crate) struct Requests {
    database: Database,
    totals: Arc<Totals>,
    finished: Finished,
    schemas: Mutex<HashMap<String, Result<InputSchema, String>>>,
    /// Held by a client that begins its task itself.
    beginning: AsyncMutex<()>,
}

pub(super) async fn run(database: Database, totals: Arc<Totals>, finished: Finished, shutdown: CancellationToken) {
    let settings = database.config().orchestrator.clone();
    let wakeups = database.signals().requests();
    let hop = Arc::new(Requests {
        database: database.clone(),
        totals,
        finished,
        schemas: Mutex::default(),
        beginning: AsyncMutex::default(),
    });
    database.set_requests(&hop);
    hop_loop::run(hop, database, settings.request_batch, settings.polling_interval, wakeups, shutdown).await;
}

impl Hop for Arc<Requests> {
    const NAME: &'static str = "requests";
    const QUEUE: &'static str = "task_requests";
    const HOP: metrics::Hop = metrics::Hop::Initialize;

    async fn run(&self, batch: u32) -> Result<u32> {
        let traces = self.database.traces();
        let (since, started) = (traces.map(|_| SystemTime::now()), Instant::now());
        let takers = self.database.takers();
        let (taker, appetite) = wanting(&takers, batch as usize).unzip();
        let claiming = taker.map(Taker::begin_claiming); // until what it brings is known
        let outcome = self.database.store().initialize_tasks(batch, traces.is_some(), appetite).await;
        let outcome = outcome.inspect_err(|error| claiming.iter().for_each(|claiming| claiming.failed(error)))?;
        self.database.metrics().hop(Self::HOP, started.elapsed(), outcome.popped);
        let (popped, unvalidated) = (outcome.popped.unsigned_abs(), outcome.unvalidated);
        self.tell(outcome, taker, started, since).await;
        let admitted = if unvalidated > 0 { self.admit(batch).await? } else { 0 };
        Ok(popped.max(admitted))
    }

    async fn look(&self) -> Result<bool> {
        let store = self.database.store();
        Ok(store.has_messages(Self::QUEUE).await? || store.has_unvalidated_tasks().await?)
    }
}

/// The first of these workers that takes something of what comes from so many requests, and what; one of a single thread takes
/// something only of a request that came alone.
fn wanting(takers: &[Arc<Taker>], requests: usize) -> Option<(&Taker, Appetite<'_>)> {
    takers.iter().find_map(|taker| Some((&**taker, taker.appetite(requests).or_else(|| taker.appetite(0))?)))
}

impl Requests {
    /// What a client of this process submits: where a worker beside it has nothing to do, the task is made at once, and its first
    /// steps are that worker's. None when there is no such worker, or another client is at it: then requests are handled together.
    ///
    /// A client may give up half way, and what is claimed must end up at hand.
    pub(crate) async fn begin(self: Arc<Self>, request: &str) -> Result<Option<Submitted>> {
        if wanting(&self.database.takers(), 0).is_none() {
            return Ok(None); // the usual one under load, at no cost
        }
        let (store, request) = (self.database.store().clone(), request.to_owned());
        store.see_through(async move { self.begin_alone(&request).await }).await.unwrap_or(Ok(None))
    }

    async fn begin_alone(&self, request: &str) -> Result<Option<Submitted>> {
        let takers = self.database.takers();
        let Some((taker, appetite)) = wanting(&takers, 0) else { return Ok(None) };
        let Ok(_one_at_a_time) = self.beginning.try_lock() else { return Ok(None) };
        let traces = self.database.traces();
        let (since, started) = (traces.map(|_| SystemTime::now()), Instant::now());
        let claiming = taker.begin_claiming(); // until what it brings is known
        let begun = self.database.store().begin_task(request, traces.is_some(), appetite).await;
        let begun = begun.inspect_err(|error| {
            claiming.failed(error);
            self.database.metrics().hop_failed(metrics::Hop::Begin);
        })?;
        if begun.initialized.popped > 0 {
            self.tell(begun.initialized, Some(taker), started, since).await;
            self.database.metrics().hop(metrics::Hop::Begin, started.elapsed(), 1u64);
        } else {
            self.database.signals().publish(Topic::Requests);
            self.database.metrics().hop(metrics::Hop::Submit, started.elapsed(), 1u64);
        }
        Ok(Some(Submitted { task_id: begun.task_id, created: begun.created }))
    }

    async fn tell(&self, mut outcome: Initialized, taker: Option<&Taker>, started: Instant, since: Option<SystemTime>) {
        if let Some(taker) = taker {
            taker.take_in(std::mem::take(&mut outcome.claimed), started, since).await;
        }
        if let (Some(traces), Some(since)) = (self.database.traces(), since) {
            traces.initialized(since, outcome.traces.as_deref());
        }
        self.totals.initialized(&outcome);
        self.database.signals().publish_steps(&outcome.namespaces);
        self.database.signals().publish_finished(&outcome.finished);
        self.finished.tell(&outcome.finished, outcome.finished.len());
    }

    async fn admit(&self, batch: u32) -> Result<u32> {
        let (count, namespaces, rejected) = self.database.store().admit_tasks(batch, |task| self.judge(task)).await?;
        self.totals.rejected(&rejected);
        self.database.signals().publish_steps(&namespaces);
        self.database.signals().publish_finished(&rejected);
        self.finished.tell(&rejected, rejected.len());
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Why a context is refused; none when it is good.
    fn judge(&self, task: &UnvalidatedTask) -> Option<String> {
        let mut schemas = lock(&self.schemas);
        if schemas.len() >= SCHEMAS && !schemas.contains_key(&task.input_schema) {
            schemas.clear();
        }
        let schema = schemas.entry(task.input_schema.clone()).or_insert_with_key(|text| InputSchema::compile(text));
        match schema {
            Err(message) => Some(format!("the workflow's input schema {message}")),
            Ok(schema) => {
                let problems: Vec<String> = schema.problems(&task.context).iter().map(ToString::to_string).collect();
                (!problems.is_empty()).then(|| problems.join("; "))
            }
        }
    }
}
