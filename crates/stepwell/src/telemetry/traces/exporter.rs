//! Sends spans to a receiver: from a thread of its own, out of a queue of bounded length, and without a word to anybody
//! but one warning for each time that the receiver is away.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor};
use opentelemetry_sdk::Resource;

use crate::error::{Error, Result};
use crate::signals::lock;
use crate::telemetry::mask_url;

/// Most spans that wait for the receiver; more are dropped, and counted.
const QUEUE: usize = 8_192;
/// Most spans of one request.
const BATCH: usize = 512;
/// How long a span waits for others to go with it.
const DELAY: Duration = Duration::from_secs(1);
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read.
const ANSWER: u64 = 1 << 20;
/// How often it is told that spans find no place in the queue.
const REMINDER: Duration = Duration::from_secs(60);

/// A way to a receiver. It ends, and with it the thread, when it is dropped.
#[derive(Debug)]
pub(super) struct Exporter {
    processor: BatchSpanProcessor,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Spans in the queue, or on their way.
    waiting: AtomicUsize,
    /// Spans that found no place in the queue.
    dropped: AtomicU64,
    /// Spans that the receiver has not taken.
    refused: AtomicU64,
    /// Whether the receiver did not take the last batch.
    away: AtomicBool,
}

impl Exporter {
    pub(super) fn start(url: &str, resource: &Resource) -> Result<Self> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Http::new())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url)
            .with_timeout(TIMEOUT)
            .with_retry_policy(RetryPolicy::recommended())
            .build()
            .map_err(|error| Error::Configuration {
                message: format!("traces.otlp_endpoint = {}: {error}", mask_url(url)),
            })?;
        let counts = Arc::<Counts>::default();
        let settings = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let told = Told { exporter, counts: counts.clone(), receiver: mask_url(url), drops: Mutex::new((0, None)) };
        let mut processor = BatchSpanProcessor::builder(told).with_batch_config(settings).build();
        processor.set_resource(resource);
        Ok(Self { processor, counts })
    }

    /// Takes a span. Never waits.
    pub(super) fn send(&self, span: SpanData) {
        if self.counts.waiting.fetch_add(1, Relaxed) < QUEUE {
            self.processor.on_end(span);
        } else {
            self.counts.waiting.fetch_sub(1, Relaxed);
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Waits until the receiver has what was sent, 5 seconds at most; not at all while the receiver is away.
    pub(super) fn flush(&self) {
        if self.counts.waiting.load(Relaxed) > 0 && !self.counts.away.load(Relaxed) {
            let _late_or_refused = self.processor.force_flush(); // told, and counted, where it happens
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.counts.lost()
    }
}

impl Counts {
    fn lost(&self) -> u64 {
        self.dropped.load(Relaxed) + self.refused.load(Relaxed)
    }
}

/// An exporter that says when its receiver does not take what it is sent, once, and when it takes it again.
#[derive(Debug)]
struct Told<E> {
    exporter: E,
    counts: Arc<Counts>,
    receiver: String,
    /// How many spans had been dropped when that was told last, and when that was.
    drops: Mutex<(u64, Option<Instant>)>,
}

impl<E> Told<E> {
    fn tell_of_drops(&self) {
        let dropped = self.counts.dropped.load(Relaxed);
        let mut told = lock(&self.drops);
        if dropped > told.0 && told.1.is_none_or(|at| at.elapsed() >= REMINDER) {
            tracing::warn!(
                receiver = self.receiver,
                spans = dropped - told.0,
                "more spans are made than the receiver takes, the others are dropped: lower traces.sample_ratio"
            );
            *told = (dropped, Some(Instant::now()));
        }
    }
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let counts = &self.counts;
        let spans = batch.len();
        let outcome = self.exporter.export(batch).await;
        match &outcome {
            Ok(()) => {
                if counts.away.swap(false, Relaxed) {
                    tracing::info!(receiver = self.receiver, lost = counts.lost(), "spans are taken again");
                }
                self.tell_of_drops();
            }
            Err(error) => {
                counts.refused.fetch_add(spans as u64, Relaxed);
                if !counts.away.swap(true, Relaxed) {
                    tracing::warn!(
                        receiver = self.receiver,
                        %error,
                        "the receiver of traces does not take spans: they are lost until it does, and nothing else is"
                    );
                }
            }
        }
        counts.waiting.fetch_sub(spans, Relaxed);
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// HTTP on the thread that asks for it.
#[derive(Debug)]
struct Http(ureq::Agent);

impl Http {
    fn new() -> Self {
        let settings = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        Self(settings.build().into())
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, mut body) = self.0.run(request.map(|body| body.to_vec()))?.into_parts();
        let answer = body.with_config().limit(ANSWER).read_to_vec()?;
        Ok(Response::from_parts(parts, answer.into()))
    }
}
