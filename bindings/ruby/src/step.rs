//! `Stepwell::Native::Step`: a taken step. Strings are made when they are asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use magnus::{method, Error, Module, RModule, Ruby};
use stepwell::store::ClaimedStep;
use stepwell::telemetry::traces::StepTrace;
use stepwell::worker::Outcome;
use stepwell::Worker;

#[magnus::wrap(class = "Stepwell::Native::Step", free_immediately, size)]
pub(crate) struct NativeStep {
    pub(crate) step: Arc<ClaimedStep>,
    pub(crate) taken: Instant,
    /// Its outcome has been handed in, and counts.
    reported: AtomicBool,
}

impl NativeStep {
    pub(crate) fn new(step: Arc<ClaimedStep>) -> Self {
        Self { step, taken: Instant::now(), reported: AtomicBool::new(false) }
    }

    /// Hands in the outcome, unless that was done: an exception can reach a thread that comes back from here, and then it
    /// hands in another. False when the step had been given up.
    pub(crate) fn report(&self, worker: &Worker, outcome: &Outcome) -> bool {
        let counts = self.reported.load(Ordering::Relaxed) || worker.report(&self.step, outcome, self.taken.elapsed());
        self.reported.store(counts, Ordering::Relaxed);
        counts
    }
}

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = crate::define_class::<NativeStep>(ruby, native, "Step")?;
    class.define_method("task_id", method!(|step: &NativeStep| step.step.task_id.to_string(), 0))?;
    class.define_method("name", method!(|step: &NativeStep| step.step.name.clone(), 0))?;
    class.define_method("workflow", method!(|step: &NativeStep| step.step.workflow.clone(), 0))?;
    class.define_method("version", method!(|step: &NativeStep| step.step.version.clone(), 0))?;
    class.define_method("handler", method!(|step: &NativeStep| step.step.handler.clone(), 0))?;
    class.define_method("attempt", method!(|step: &NativeStep| step.step.attempt, 0))?;
    class.define_method("max_attempts", method!(|step: &NativeStep| step.step.max_attempts, 0))?;
    class.define_method("timeout_ms", method!(|step: &NativeStep| step.step.timeout_ms, 0))?;
    class.define_method("context_json", method!(|step: &NativeStep| step.step.context.clone(), 0))?;
    class.define_method("results_json", method!(|step: &NativeStep| step.step.results.clone(), 0))?;
    class.define_method("config_json", method!(|step: &NativeStep| step.step.config.clone(), 0))?;
    class.define_method("correlation_id", method!(|step: &NativeStep| step.step.correlation_id.clone(), 0))?;
    class.define_method("trace_context_json", method!(trace_context_json, 0))?;
    class.define_method("runs_for_ms", method!(runs_for_ms, 0))?;
    class.define_method("handler_span?", method!(has_handler_span, 0))?;
    Ok(())
}

/// Milliseconds since a thread took it.
fn runs_for_ms(step: &NativeStep) -> u64 {
    u64::try_from(step.taken.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Nil for a step without a trace.
fn trace_context_json(step: &NativeStep) -> Option<String> {
    serde_json::to_string(&step.step.trace.as_ref()?.context()).ok()
}

/// Whether the span of the handler is exported from here.
fn has_handler_span(step: &NativeStep) -> bool {
    step.step.trace.as_ref().is_some_and(StepTrace::has_handler_span)
}
