//! Handlers written in Rust.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

use super::outcome::{Failure, FailureKind, Outcome};
use super::Worker;
use crate::databases::Databases;
use crate::error::Result;
use crate::store::ClaimedStep;

/// What a handler returns: its result as JSON text, or how it failed.
pub type HandlerResult = std::result::Result<String, Failure>;

/// Code that executes a step. Closures `|step| async { … }` are handlers too.
pub trait StepHandler: Send + Sync + 'static {
    /// Executes one attempt.
    fn call(&self, step: Arc<ClaimedStep>) -> Pin<Box<dyn Future<Output = HandlerResult> + Send>>;
}

impl<F, R> StepHandler for F
where
    F: Fn(Arc<ClaimedStep>) -> R + Send + Sync + 'static,
    R: Future<Output = HandlerResult> + Send + 'static,
{
    fn call(&self, step: Arc<ClaimedStep>) -> Pin<Box<dyn Future<Output = HandlerResult> + Send>> {
        Box::pin(self(step))
    }
}

/// Handlers by the name under which definitions call for them.
#[derive(Default, Clone)]
pub struct Handlers(HashMap<String, Arc<dyn StepHandler>>);

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Handlers {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a handler.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, handler: impl StepHandler) -> Self {
        self.0.insert(name.into(), Arc::new(handler));
        self
    }
}

impl Worker {
    /// Starts a worker whose steps are executed by handlers in Rust, `concurrency` at a time.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(
        databases: impl Into<Databases>,
        namespaces: Vec<String>,
        concurrency: u32,
        handlers: Handlers,
    ) -> Result<Arc<Self>> {
        let worker = Arc::new(Self::start(databases, namespaces, concurrency).await?);
        let handlers = Arc::new(handlers);
        for _ in 0..concurrency {
            let (taker, handlers) = (worker.clone(), handlers.clone());
            worker.tasks.spawn(async move {
                let abort = taker.shared.abort.clone();
                abort.run_until_cancelled(execute_all(&taker, &handlers)).await;
            });
        }
        Ok(worker)
    }
}

async fn execute_all(worker: &Worker, handlers: &Handlers) {
    while let Some(step) = worker.take().await {
        let Some(handler) = handlers.0.get(&step.handler).cloned() else {
            if let Err(error) = worker.release_unhandled(&step).await {
                tracing::warn!(%error, "a step without a handler could not be given back; its claim expires");
            }
            continue;
        };
        let started = Instant::now();
        let outcome = execute(handler, step.clone()).await;
        worker.report(&step, &outcome, started.elapsed());
    }
}

async fn execute(handler: Arc<dyn StepHandler>, step: Arc<ClaimedStep>) -> Outcome {
    let limit = step.timeout_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    // A task of its own, so that a panic is the step's failure and not the worker's; it ends with this taker.
    let mut attempt = AbortOnDropHandle::new(tokio::spawn(async move { handler.call(step).await }));
    let ended = match limit {
        Some(limit) => match tokio::time::timeout(limit, &mut attempt).await {
            Ok(ended) => ended,
            Err(_) => {
                let message = format!("the attempt took longer than {limit:?}");
                return Outcome::Failed(Failure::new(FailureKind::Timeout, "Timeout", message));
            }
        },
        None => attempt.await,
    };
    match ended {
        Ok(Ok(result)) => Outcome::Complete(result),
        Ok(Err(failure)) => Outcome::Failed(failure),
        Err(error) => Outcome::Failed(Failure::new(FailureKind::Retryable, "Panic", error.to_string())),
    }
}
