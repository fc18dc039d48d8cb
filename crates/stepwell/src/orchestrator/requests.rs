//! The request loop: `task_requests` -> tasks, steps, and the root steps' queues.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use super::finished::Finished;
use super::hop_loop::{self, Hop};
use super::summary::Totals;
use crate::database::Database;
use crate::error::Result;
use crate::signals::lock;
use crate::store::UnvalidatedTask;
use crate::telemetry::metrics;
use crate::workflow::InputSchema;

/// Compiled input schemas that are kept; beyond it all are forgotten.
const SCHEMAS: usize = 200;

struct Requests {
    database: Database,
    totals: Arc<Totals>,
    finished: Finished,
    schemas: Mutex<HashMap<String, Result<InputSchema, String>>>,
}

pub(super) async fn run(database: Database, totals: Arc<Totals>, finished: Finished, shutdown: CancellationToken) {
    let settings = database.config().orchestrator.clone();
    let wakeups = database.signals().requests();
    let hop = Requests { database: database.clone(), totals, finished, schemas: Mutex::default() };
    hop_loop::run(hop, database, settings.request_batch, settings.polling_interval, wakeups, shutdown).await;
}

impl Hop for Requests {
    const NAME: &'static str = "requests";
    const QUEUE: &'static str = "task_requests";
    const HOP: metrics::Hop = metrics::Hop::Initialize;

    async fn run(&self, batch: u32) -> Result<u32> {
        let traces = self.database.traces();
        let (since, started) = (traces.map(|_| SystemTime::now()), Instant::now());
        let takers = self.database.takers();
        let wanting = takers.iter().find_map(|taker| Some((taker, taker.appetite(0)?)));
        let (taker, appetite) = wanting.unzip();
        let mut outcome = self.database.store().initialize_tasks(batch, traces.is_some(), appetite).await?;
        if let Some(taker) = taker {
            taker.take_in(std::mem::take(&mut outcome.claimed), started, since).await;
        }
        self.database.metrics().hop(Self::HOP, started.elapsed(), outcome.popped);
        if let (Some(traces), Some(since)) = (traces, since) {
            traces.initialized(since, outcome.traces.as_deref());
        }
        self.totals.initialized(&outcome);
        self.database.signals().publish_steps(&outcome.namespaces);
        self.database.signals().publish_finished(&outcome.finished);
        self.finished.tell(&outcome.finished);
        let admitted = if outcome.unvalidated > 0 { self.admit(batch).await? } else { 0 };
        Ok(outcome.popped.unsigned_abs().max(admitted))
    }

    async fn look(&self) -> Result<bool> {
        let store = self.database.store();
        Ok(store.has_messages(Self::QUEUE).await? || store.has_unvalidated_tasks().await?)
    }
}

impl Requests {
    async fn admit(&self, batch: u32) -> Result<u32> {
        let (count, namespaces, rejected) = self.database.store().admit_tasks(batch, |task| self.judge(task)).await?;
        self.totals.rejected(&rejected);
        self.database.signals().publish_steps(&namespaces);
        self.database.signals().publish_finished(&rejected);
        self.finished.tell(&rejected);
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
