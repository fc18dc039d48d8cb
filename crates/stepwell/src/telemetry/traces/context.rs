//! W3C trace context: what ties the spans of one trace together. It is made where a task is submitted, stands with the
//! task, and goes to each of its steps.

use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::store::ClaimedStep;

/// Where in which trace something happens, as the headers of <https://www.w3.org/TR/trace-context/> say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// `00-<trace: 32 hex digits>-<span: 16>-<flags: 2>`.
    pub traceparent: String,
    /// What the vendors of tracing systems add; one that cannot be read is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
}

impl TraceContext {
    /// Out of JSON text, as a task has it; none when it holds no usable `traceparent`. Whoever submits by plain SQL can
    /// have written anything.
    pub(crate) fn read(json: &str) -> Option<SpanContext> {
        serde_json::from_str::<Self>(json).ok()?.span_context()
    }

    /// What is wrong with it; none when nothing is.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let message = "must be 00-<32 hex digits>-<16 hex digits>-<2 hex digits> in lower case, neither id all zeros";
        self.span_context().is_none().then(|| Problem::new("trace_context.traceparent", message))
    }

    pub(super) fn span_context(&self) -> Option<SpanContext> {
        let text = self.traceparent.as_bytes();
        let dashes = text.len() >= 55 && [2, 35, 52].iter().all(|place| text[*place] == b'-');
        // A later version may have more fields, behind another dash.
        let whole = text.len() == 55 || (text.get(55) == Some(&b'-') && !self.traceparent.starts_with("00"));
        let hex = |place: std::ops::Range<usize>| {
            let digits = self.traceparent.get(place)?;
            digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(digits)
        };
        if !dashes || !whole || hex(0..2)? == "ff" {
            return None;
        }
        let trace = TraceId::from_hex(hex(3..35)?).ok()?;
        let span = SpanId::from_hex(hex(36..52)?).ok()?;
        let flags = TraceFlags::new(u8::from_str_radix(hex(53..55)?, 16).ok()?) & TraceFlags::SAMPLED;
        let state = self.tracestate.as_deref().and_then(|text| TraceState::from_str(text).ok()).unwrap_or_default();
        Some(SpanContext::new(trace, span, flags, true, state)).filter(SpanContext::is_valid)
    }
}

impl From<&SpanContext> for TraceContext {
    fn from(context: &SpanContext) -> Self {
        let flags = context.trace_flags() & TraceFlags::SAMPLED;
        let state = context.trace_state().header();
        Self {
            traceparent: format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()),
            tracestate: (!state.is_empty()).then_some(state),
        }
    }
}

/// A span of the same trace, below `parent`.
pub(super) fn below(parent: &SpanContext) -> SpanContext {
    let (flags, state) = (parent.trace_flags(), parent.trace_state().clone());
    SpanContext::new(parent.trace_id(), new_span(), flags, false, state)
}

pub(super) fn new_span() -> SpanId {
    SpanId::from(rand::random::<u64>().max(1)) // zero is no id
}

/// The trace that a claimed step belongs to.
#[derive(Debug, Clone)]
pub struct StepTrace {
    task: SpanContext,
    /// The handler's own span; none when this process exports none for it.
    handler: Option<SpanContext>,
}

impl StepTrace {
    /// Of a task with this trace context, JSON text; none when it cannot be read. `exports`: whether this process does.
    pub(crate) fn of(json: &str, exports: bool) -> Option<Self> {
        let task = TraceContext::read(json)?;
        let handler = (exports && task.is_sampled()).then(|| below(&task));
        Some(Self { task, handler })
    }

    /// What a handler gives to whatever it calls.
    pub fn context(&self) -> TraceContext {
        self.innermost().into()
    }

    /// Whether the handler's own span is exported from here, so that nobody else needs to make one.
    pub fn has_handler_span(&self) -> bool {
        self.handler.is_some()
    }

    pub(super) fn task(&self) -> &SpanContext {
        &self.task
    }

    pub(super) fn handler(&self) -> Option<&SpanContext> {
        self.handler.as_ref()
    }

    fn innermost(&self) -> &SpanContext {
        self.handler.as_ref().unwrap_or(&self.task)
    }
}

/// What goes with a result, so that the spans of its way to the task find their trace.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ResultTrace {
    traceparent: String,
    workflow: String,
    name: String,
    #[serde(skip)]
    pub(super) parent: SpanContext,
    #[serde(skip)]
    pub(super) attempt: i16,
}

impl ResultTrace {
    /// None for a step without a trace, or one that nobody records.
    pub(crate) fn of(step: &ClaimedStep) -> Option<Box<Self>> {
        let parent = step.trace.as_ref()?.innermost().clone();
        parent.is_sampled().then(|| {
            let traceparent = TraceContext::from(&parent).traceparent;
            let (workflow, name) = (step.workflow.clone(), step.name.clone());
            Box::new(Self { traceparent, workflow, name, parent, attempt: step.attempt })
        })
    }

    pub(super) fn workflow(&self) -> &str {
        &self.workflow
    }

    pub(super) fn step(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(traceparent: &str, tracestate: Option<&str>) -> TraceContext {
        TraceContext { traceparent: traceparent.to_owned(), tracestate: tracestate.map(str::to_owned) }
    }

    #[test]
    fn a_trace_context_survives_the_way_there_and_back() {
        for flags in ["00", "01"] {
            let there =
                context(&format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}"), Some("a=1,b=2"));
            assert_eq!(TraceContext::from(&there.span_context().unwrap()), there);
        }
    }

    #[test]
    fn flags_that_are_not_known_are_dropped_and_later_versions_read() {
        for later in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            let read = TraceContext::from(&context(later, None).span_context().unwrap());
            assert_eq!(read.traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        }
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        for wrong in [
            "",
            "00-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b-01",
        ] {
            assert_eq!(context(wrong, None).problem().unwrap().field, "trace_context.traceparent", "{wrong}");
        }
    }

    #[test]
    fn a_tracestate_that_cannot_be_read_is_dropped() {
        let read = context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Some("no state"));
        assert_eq!(TraceContext::from(&read.span_context().unwrap()).tracestate, None);
    }

    #[test]
    fn json_of_any_shape_is_read_or_not() {
        for json in ["7", "{}", r#"{"traceparent": 1}"#, r#"{"traceparent": "00-1"}"#, "[]", "null"] {
            assert!(TraceContext::read(json).is_none(), "{json}");
        }
    }
}
