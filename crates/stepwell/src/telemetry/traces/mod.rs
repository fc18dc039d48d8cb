//! Traces for OpenTelemetry: one a task, from the submit through every hop to each handler, exported by OTLP. Off unless
//! the settings name a receiver; then nothing here exists, and whoever could record a span asks one `Option`.
//!
//! The processes that a task passes share nothing but the database, so the trace context of the submit stands with the
//! task and is the parent of all that follows; a result brings that of its handler along. Spans are recorded when they
//! are over.

mod context;
mod exporter;
mod spans;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SpanData};
use opentelemetry_sdk::Resource;

use crate::config;
use crate::error::Result;

pub use context::{StepTrace, TraceContext};

pub(crate) use context::ResultTrace;
pub(crate) use spans::Submitting;

use exporter::Exporter;

/// How long whoever stops waits for the receiver.
const PATIENCE: Duration = Duration::from_secs(2);

/// The traces of one link, or several, to databases. Cheap to clone. Of the process that made it: a forked child makes
/// its own, as it makes its own links.
#[derive(Debug, Clone)]
pub(crate) struct Traces(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    exporter: Exporter,
    sampler: Sampler,
    scope: InstrumentationScope,
}

/// A span that is over.
struct Span {
    name: Cow<'static, str>,
    kind: SpanKind,
    context: SpanContext,
    parent: Option<SpanContext>,
    since: SystemTime,
    until: SystemTime,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl Traces {
    /// None when the settings name no receiver.
    ///
    /// # Errors
    /// [`Error::Configuration`](crate::Error::Configuration) for a receiver that is none.
    pub(crate) fn start(settings: &config::Traces) -> Result<Option<Self>> {
        let Some(url) = settings.url() else { return Ok(None) };
        let given = |name: Option<String>| name.filter(|name| !name.is_empty());
        let name = given(settings.service_name.clone()).or_else(|| given(std::env::var("OTEL_SERVICE_NAME").ok()));
        let resource = Resource::builder().with_service_name(name.unwrap_or_else(|| "stepwell".to_owned())).build();
        Ok(Some(Self(Arc::new(Inner {
            exporter: Exporter::start(&url, &resource)?,
            sampler: Sampler::TraceIdRatioBased(settings.sample_ratio),
            scope: InstrumentationScope::builder("stepwell").with_version(env!("CARGO_PKG_VERSION")).build(),
        }))))
    }

    /// Waits until the receiver has what was recorded, 2 seconds at most.
    pub(crate) async fn flush(&self) {
        let inner = self.0.clone();
        let flushed = tokio::task::spawn_blocking(move || inner.exporter.flush());
        let _in_time = tokio::time::timeout(PATIENCE, flushed).await;
    }

    /// How many spans did not fit into the queue, or were not taken by the receiver.
    pub(crate) fn lost(&self) -> u64 {
        self.0.exporter.lost()
    }

    fn record(&self, span: Span) {
        self.0.exporter.send(SpanData {
            span_context: span.context,
            parent_span_id: span.parent.as_ref().map_or(SpanId::INVALID, SpanContext::span_id),
            parent_span_is_remote: span.parent.as_ref().is_some_and(SpanContext::is_remote),
            span_kind: span.kind,
            name: span.name,
            start_time: span.since,
            end_time: span.until,
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: span.status,
            instrumentation_scope: self.0.scope.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::store::Submitted;

    #[test]
    fn a_queue_that_is_full_drops_and_counts_and_never_waits() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // takes a connection and says nothing
        let endpoint = Some(format!("http://{}", silent.local_addr().unwrap()));
        let settings = config::Traces { otlp_endpoint: endpoint, sample_ratio: 1.0, service_name: None };
        let traces = Traces::start(&settings).unwrap().unwrap();
        let started = Instant::now();
        for _ in 0..9_000 {
            let submitted = Ok(vec![Submitted { task_id: uuid::Uuid::now_v7(), created: true }]);
            traces.submitted(["shop/order"].into_iter(), vec![traces.submitting(None)], &submitted);
        }
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        assert_eq!(traces.lost(), 9_000 - 8_192);
    }

    #[test]
    fn nothing_is_started_where_nothing_is_exported() {
        let settings = config::Traces { otlp_endpoint: None, sample_ratio: 1.0, service_name: None };
        assert!(Traces::start(&settings).unwrap().is_none());
    }
}
