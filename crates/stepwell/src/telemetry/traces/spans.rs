//! The spans of a task's way: submit, initialize, claim, the handler itself, report, apply. One each for a task or a step;
//! those of a batch share its times. What is not sampled costs nothing but the look.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample};
use serde::Deserialize;
use uuid::Uuid;

use super::context::{below, new_span};
use super::{ResultTrace, Span, StepTrace, TraceContext, Traces};
use crate::error::Result;
use crate::store::{ClaimedStep, Submitted};
use crate::telemetry::mask_text;
use crate::worker::{Failure, Outcome};

/// Longest description of an error, in characters.
const DESCRIPTION: usize = 500;

/// A submit that is under way.
#[derive(Debug)]
pub(crate) struct Submitting {
    parent: Option<SpanContext>,
    context: SpanContext,
    since: SystemTime,
}

impl Submitting {
    /// What goes with the task.
    pub(crate) fn context(&self) -> TraceContext {
        (&self.context).into()
    }
}

/// A task, or a step, as a hop tells of it.
#[derive(Deserialize)]
struct Traced {
    #[serde(flatten)]
    context: TraceContext,
    task_id: Uuid,
    workflow: String,
    name: Option<String>,
    attempt: Option<i16>,
    outcome: Option<String>,
}

impl Traces {
    /// Begins the trace of a task, below what its submitter is in, else by itself.
    pub(crate) fn submitting(&self, caller: Option<&TraceContext>) -> Submitting {
        let parent = caller.and_then(TraceContext::span_context);
        let context = parent.as_ref().map_or_else(|| self.root(), below);
        Submitting { parent, context, since: SystemTime::now() }
    }

    fn root(&self) -> SpanContext {
        let trace = TraceId::from(rand::random::<u128>().max(1));
        let sampled = self.0.sampler.should_sample(None, trace, "submit", &SpanKind::Producer, &[], &[]);
        let flags = TraceFlags::default().with_sampled(sampled.decision == SamplingDecision::RecordAndSample);
        SpanContext::new(trace, new_span(), flags, false, TraceState::NONE)
    }

    /// Submits have ended, each of the workflow at its place.
    pub(crate) fn submitted<'a>(
        &self,
        workflows: impl Iterator<Item = &'a str>,
        submits: Vec<Submitting>,
        outcome: &Result<Vec<Submitted>>,
    ) {
        let until = SystemTime::now();
        for (place, (workflow, submit)) in workflows.zip(submits).enumerate() {
            if !submit.context.is_sampled() {
                continue;
            }
            let mut attributes = of_workflow(workflow);
            let status = match outcome {
                Ok(submitted) => {
                    if let Some(submitted) = submitted.get(place) {
                        attributes.push(KeyValue::new("stepwell.task_id", submitted.task_id.to_string()));
                        attributes.push(KeyValue::new("stepwell.created", submitted.created));
                    }
                    Status::Unset
                }
                Err(error) => failed(&error.to_string()),
            };
            let (kind, name) = (SpanKind::Producer, format!("submit {workflow}").into());
            let Submitting { parent, context, since } = submit;
            self.record(Span { name, kind, context, parent, since, until, attributes, status });
        }
    }

    /// Requests became tasks; `traces` is what the hop told of those with a trace, JSON text.
    pub(crate) fn initialized(&self, since: SystemTime, traces: Option<&str>) {
        self.hop("initialize", since, traces);
    }

    /// Results were applied; `traces` is what the hop told of those with a trace, JSON text.
    pub(crate) fn applied(&self, since: SystemTime, traces: Option<&str>) {
        self.hop("apply", since, traces);
    }

    fn hop(&self, name: &str, since: SystemTime, traces: Option<&str>) {
        let Some(traces) = traces.and_then(|json| serde_json::from_str::<Vec<serde_json::Value>>(json).ok()) else {
            return;
        };
        let until = SystemTime::now();
        // Whoever sends by hand can have written anything; what is no trace is left out.
        for it in traces.into_iter().filter_map(|traced| Traced::deserialize(traced).ok()) {
            let Some(parent) = it.context.span_context().filter(SpanContext::is_sampled) else { continue };
            let mut attributes = of_step(&it.workflow, it.task_id, it.name.as_deref(), it.attempt);
            attributes.extend(it.outcome.map(|outcome| KeyValue::new("stepwell.outcome", outcome)));
            let name = format!("{name} {}", it.name.as_deref().unwrap_or(&it.workflow)).into();
            self.within(parent, name, SpanKind::Internal, since, until, attributes, Status::Unset);
        }
    }

    /// Steps were claimed.
    pub(crate) fn claimed(&self, since: SystemTime, steps: &[ClaimedStep]) {
        let until = SystemTime::now();
        for step in steps {
            let Some(parent) = step.trace.as_ref().map(StepTrace::task).filter(|task| task.is_sampled()) else {
                continue;
            };
            let (name, attributes) = (format!("claim {}", step.name).into(), of_claimed(step));
            self.within(parent.clone(), name, SpanKind::Internal, since, until, attributes, Status::Unset);
        }
    }

    /// An attempt is over.
    pub(crate) fn executed(&self, step: &ClaimedStep, outcome: &Outcome, took: Duration) {
        let Some((task, context)) = step.trace.as_ref().and_then(|it| Some((it.task(), it.handler()?))) else { return };
        let mut attributes = of_claimed(step);
        let status = match outcome {
            Outcome::Complete(_) => Status::Unset,
            Outcome::Failed(Failure { kind, class, message, .. }) => {
                attributes.push(KeyValue::new("error.type", class.clone()));
                attributes.push(KeyValue::new("stepwell.outcome", kind.as_str()));
                failed(&format!("{class}: {message}"))
            }
        };
        let until = SystemTime::now();
        self.record(Span {
            name: format!("execute {}", step.name).into(),
            kind: SpanKind::Consumer,
            context: context.clone(),
            parent: Some(task.clone()),
            since: until - took,
            until,
            attributes,
            status,
        });
    }

    /// A result was handed to the orchestrator, or refused because the lease was lost.
    pub(crate) fn reported(&self, since: SystemTime, task_id: Uuid, result: &ResultTrace, refused: bool) {
        let attributes = of_step(result.workflow(), task_id, Some(result.step()), Some(result.attempt));
        let status = if refused { failed("the lease was lost, the result does not count") } else { Status::Unset };
        let (name, until) = (format!("report {}", result.step()).into(), SystemTime::now());
        self.within(result.parent.clone(), name, SpanKind::Internal, since, until, attributes, status);
    }

    #[allow(clippy::too_many_arguments, reason = "they are a span, named where it is made")]
    fn within(
        &self,
        parent: SpanContext,
        name: std::borrow::Cow<'static, str>,
        kind: SpanKind,
        since: SystemTime,
        until: SystemTime,
        attributes: Vec<KeyValue>,
        status: Status,
    ) {
        let context = below(&parent);
        self.record(Span { name, kind, context, parent: Some(parent), since, until, attributes, status });
    }
}

fn of_workflow(workflow: &str) -> Vec<KeyValue> {
    let namespace = workflow.split_once('/').map_or(workflow, |(namespace, _)| namespace);
    let mut attributes = Vec::with_capacity(6);
    attributes.push(KeyValue::new("stepwell.namespace", namespace.to_owned()));
    attributes.push(KeyValue::new("stepwell.workflow", workflow.to_owned()));
    attributes
}

fn of_step(workflow: &str, task_id: Uuid, step: Option<&str>, attempt: Option<i16>) -> Vec<KeyValue> {
    let mut attributes = of_workflow(workflow);
    attributes.push(KeyValue::new("stepwell.task_id", task_id.to_string()));
    attributes.extend(step.map(|step| KeyValue::new("stepwell.step", step.to_owned())));
    attributes.extend(attempt.map(|attempt| KeyValue::new("stepwell.attempt", i64::from(attempt))));
    attributes
}

fn of_claimed(step: &ClaimedStep) -> Vec<KeyValue> {
    of_step(&step.workflow, step.task_id, Some(&step.name), Some(step.attempt))
}

/// An error that shows no credentials.
fn failed(message: &str) -> Status {
    Status::error(mask_text(message).chars().take(DESCRIPTION).collect::<String>())
}
