//! `Stepwell::Native::Worker`: Ruby threads take steps from it and hand in what became of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use magnus::{function, method, Error, Module, Object, RArray, RModule, Ruby};
use serde::Deserialize;
use serde_json::value::RawValue;
use stepwell::store::AttemptEnd;
use stepwell::worker::{Cause, Failure, FailureKind, Outcome, RetryAfter, Taken};
use stepwell::Worker;

use crate::database::NativeDatabase;
use crate::duration::from_seconds;
use crate::errors::{entry, error};
use crate::guarded::Guarded;
use crate::gvl::{block_on, without_gvl};
use crate::step::NativeStep;

/// How long one wait for a step lasts at most; an interrupt ends it early.
const LOOK: Duration = Duration::from_secs(1);

#[magnus::wrap(class = "Stepwell::Native::Worker", free_immediately, size)]
struct NativeWorker(Guarded<Arc<Worker>>);

#[derive(Deserialize)]
struct FailureInput {
    kind: String,
    class: String,
    code: Option<String>,
    message: String,
    #[serde(default)]
    backtrace: Vec<String>,
    #[serde(default)]
    causes: Vec<CauseInput>,
    context: Option<Box<RawValue>>,
    #[serde(default)]
    ancestors: Vec<String>,
    retry_after: Option<RetryAfterInput>,
    metadata: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct CauseInput {
    class: String,
    message: String,
    backtrace: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RetryAfterInput {
    Seconds(f64),
    Header(String),
}

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = crate::define_class::<NativeWorker>(ruby, native, "Worker")?;
    class.define_singleton_method("start", function!(start, 3))?;
    class.define_method("id", method!(id, 0))?;
    class.define_method("take", method!(take, 1))?;
    class.define_method("next_hung", method!(next_hung, 0))?;
    class.define_method("complete", method!(complete, 2))?;
    class.define_method("fail", method!(fail, 2))?;
    class.define_method("heartbeat", method!(heartbeat, 2))?;
    class.define_method("release_unhandled", method!(release_unhandled, 1))?;
    class.define_method("quiet", method!(quiet, 0))?;
    class.define_method("stop", method!(stop, 1))?;
    Ok(())
}

fn start(
    ruby: &Ruby,
    database: &NativeDatabase,
    namespaces: Vec<String>,
    concurrency: u32,
) -> Result<NativeWorker, Error> {
    entry(ruby, || {
        let databases = database.0.get(ruby)?.clone();
        let worker = block_on(ruby, async move { Worker::start(databases, namespaces, concurrency).await })?;
        Ok(NativeWorker(Guarded::new(Arc::new(worker))))
    })
}

fn id(ruby: &Ruby, worker: &NativeWorker) -> Result<String, Error> {
    entry(ruby, || Ok(worker.0.get(ruby)?.id().to_owned()))
}

/// Puts the next step first into `held`, so that it is not lost when an exception reaches the thread before it has it.
/// False when the worker is quiet and nothing is left. Gives up the GVL only when it must wait.
fn take(ruby: &Ruby, worker: &NativeWorker, held: RArray) -> Result<bool, Error> {
    entry(ruby, || {
        let worker = worker.0.get(ruby)?;
        let mut taken = worker.try_take();
        loop {
            match taken {
                Taken::Step(step) => return held.store(0, NativeStep::new(step)).map(|()| true),
                Taken::Closed => return Ok(false),
                Taken::Nothing => ruby.thread_check_ints()?,
            }
            taken = wait(worker, Worker::take_blocking)?;
        }
    })
}

/// Waits for a step whose thread is to be replaced, because its handler does not end; nil when the worker is quiet.
fn next_hung(ruby: &Ruby, worker: &NativeWorker) -> Result<Option<NativeStep>, Error> {
    entry(ruby, || {
        let worker = worker.0.get(ruby)?;
        loop {
            match wait(worker, Worker::wait_hung)? {
                Taken::Step(step) => return Ok(Some(NativeStep::new(step))),
                Taken::Closed => return Ok(None),
                Taken::Nothing => ruby.thread_check_ints()?,
            }
        }
    })
}

/// One wait without the GVL. An interrupt ends it, or keeps it from beginning: Ruby tells of it once.
fn wait(worker: &Worker, wait: fn(&Worker, Duration, &AtomicBool) -> Taken) -> Result<Taken, Error> {
    let called_off = AtomicBool::new(false);
    let mut taken = Taken::Nothing;
    let slot = &mut taken;
    without_gvl(|| *slot = wait(worker, LOOK, &called_off), &|| {
        called_off.store(true, Ordering::Relaxed);
        worker.wake_takers();
    })?;
    Ok(taken)
}

/// Hands in a result. False when the step had been given up: the caller's place is taken.
fn complete(ruby: &Ruby, worker: &NativeWorker, step: &NativeStep, result: String) -> Result<bool, Error> {
    entry(ruby, || Ok(step.report(worker.0.get(ruby)?, &Outcome::Complete(result))))
}

/// Hands in a failure. False when the step had been given up: the caller's place is taken.
fn fail(ruby: &Ruby, worker: &NativeWorker, step: &NativeStep, failure: String) -> Result<bool, Error> {
    entry(ruby, || {
        let input: FailureInput =
            serde_json::from_str(&failure).map_err(|failure| error(ruby, "Error", failure.to_string()))?;
        Ok(step.report(worker.0.get(ruby)?, &Outcome::Failed(input.into_failure())))
    })
}

/// Stores progress. Returns nil, or why the attempt is no longer wanted.
fn heartbeat(
    ruby: &Ruby,
    worker: &NativeWorker,
    step: &NativeStep,
    progress: String,
) -> Result<Option<&'static str>, Error> {
    entry(ruby, || {
        let (worker, step) = (worker.0.get(ruby)?.clone(), step.step.clone());
        let end = block_on(ruby, async move { worker.heartbeat(&step, &progress).await })?;
        Ok(end.map(|end| match end {
            AttemptEnd::Cancelled => "cancelled",
            AttemptEnd::Settled => "settled",
            AttemptEnd::LeaseLost => "lost",
        }))
    })
}

fn release_unhandled(ruby: &Ruby, worker: &NativeWorker, step: &NativeStep) -> Result<(), Error> {
    entry(ruby, || {
        let (worker, step) = (worker.0.get(ruby)?.clone(), step.step.clone());
        block_on(ruby, async move { worker.release_unhandled(&step).await })
    })
}

fn quiet(ruby: &Ruby, worker: &NativeWorker) -> Result<(), Error> {
    entry(ruby, || {
        let worker = worker.0.get(ruby)?.clone();
        block_on(ruby, async move {
            worker.quiet().await;
            Ok(())
        })
    })
}

/// Stops within `timeout` seconds (none: when all that runs has ended). Returns how many steps were still running.
fn stop(ruby: &Ruby, worker: &NativeWorker, timeout: Option<f64>) -> Result<usize, Error> {
    entry(ruby, || {
        let worker = worker.0.get(ruby)?.clone();
        let grace = timeout.map_or(Duration::MAX, from_seconds);
        block_on(ruby, async move { Ok(worker.stop(grace).await) })
    })
}

impl CauseInput {
    fn into_cause(self) -> Cause {
        Cause { class: Some(self.class), message: self.message, backtrace: self.backtrace }
    }
}

impl FailureInput {
    fn into_failure(self) -> Failure {
        let text = |json: Box<RawValue>| String::from(Box::<str>::from(json));
        Failure {
            kind: match self.kind.as_str() {
                "permanent" => FailureKind::Permanent,
                "timeout" => FailureKind::Timeout,
                _ => FailureKind::Retryable,
            },
            class: self.class,
            ancestors: self.ancestors,
            code: self.code,
            message: self.message,
            backtrace: self.backtrace,
            causes: self.causes.into_iter().map(CauseInput::into_cause).collect(),
            context: self.context.map(text),
            retry_after: self.retry_after.map(|asked| match asked {
                RetryAfterInput::Seconds(seconds) => RetryAfter::Seconds(seconds),
                RetryAfterInput::Header(text) => RetryAfter::Header(text),
            }),
            metadata: self.metadata.map(text),
        }
    }
}
