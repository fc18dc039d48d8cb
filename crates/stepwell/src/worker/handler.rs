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
    let started = Instant::now();
    // A task of its own, so that a panic is the step's failure and not the worker's; it ends with this taker.
    let mut attempt = AbortOnDropHandle::new(tokio::spawn(async move { handler.call(step).await }));
    let ended = match limit {
        Some(limit) => match tokio::time::timeout(limit, &mut attempt).await {
            Ok(ended) => ended,
            Err(_) => return Outcome::Failed(too_long(limit, None)),
        },
        None => attempt.await,
    };
    let outcome = match ended {
        Ok(Ok(result)) => Outcome::Complete(result),
        Ok(Err(failure)) => Outcome::Failed(failure),
        Err(error) => Outcome::Failed(Failure::new(FailureKind::Retryable, "Panic", error.to_string())),
    };
    // A handler that does not yield keeps the timer from being heard. What comes after its time does not count either.
    match (limit.filter(|limit| started.elapsed() >= *limit), outcome) {
        (Some(limit), Outcome::Complete(_)) => Outcome::Failed(too_long(limit, None)),
        (Some(limit), Outcome::Failed(late)) => Outcome::Failed(too_long(limit, Some(late))),
        (None, outcome) => outcome,
    }
}

/// The failure of an attempt whose time is over, whatever it failed with then.
fn too_long(limit: Duration, late: Option<Failure>) -> Failure {
    let message = format!("the attempt took longer than {limit:?}");
    Failure {
        causes: late.into_iter().flat_map(Failure::into_causes).collect(),
        ..Failure::new(FailureKind::Timeout, "Timeout", message)
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Cause;
    use super::super::slots::tests::step;
    use super::*;

    /// What an attempt of 10 ms becomes when its handler keeps the only thread for longer, and then says this.
    async fn late(said: HandlerResult) -> Failure {
        let handler = move |step: Arc<ClaimedStep>| {
            let (said, limit) = (said.clone(), step.timeout_ms);
            async move {
                let over = Instant::now() + Duration::from_millis(limit.unwrap().try_into().unwrap());
                while Instant::now() <= over {
                    std::hint::spin_loop();
                }
                said
            }
        };
        let step = Arc::new(ClaimedStep { timeout_ms: Some(10), ..step() });
        match execute(Arc::new(handler), step).await {
            Outcome::Failed(failure) => failure,
            Outcome::Complete(result) => panic!("complete with {result}"),
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_comes_after_the_time_is_over_does_not_count_when_a_handler_does_not_yield() {
        let returned = late(Ok("1".into())).await;
        let failure = Failure::new(FailureKind::Permanent, "Own", "my own");
        let failed = late(Err(Failure { causes: vec![Cause::default()], ..failure })).await;
        for failure in [&returned, &failed] {
            let message = "the attempt took longer than 10ms";
            assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Timeout, message));
        }
        assert_eq!(returned.causes, []);
        let own = Cause { class: Some("Own".into()), message: "my own".into(), backtrace: vec![] };
        assert_eq!(failed.causes, [own, Cause::default()]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_attempt_that_ends_in_time_is_what_its_handler_says() {
        let step = Arc::new(ClaimedStep { timeout_ms: Some(3_600_000), ..step() });
        let outcome = execute(Arc::new(|_| async { Ok("1".to_owned()) }), step).await;
        assert!(matches!(outcome, Outcome::Complete(result) if result == "1"));
    }
}
