//! A receiver of traces: an HTTP server that takes OTLP in Protocol Buffers and keeps the spans.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails the test")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{ensure, Context, Result};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// A span as it came, with hexadecimal ids.
#[derive(Debug, Clone)]
pub struct Received {
    pub service: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub kind: i32,
    pub attributes: HashMap<String, String>,
    pub error: Option<String>,
    pub times: (u64, u64),
}

/// It listens until it is dropped.
pub struct Receiver {
    url: String,
    spans: Arc<Mutex<Vec<Received>>>,
    _server: AbortOnDropHandle<()>,
}

impl Receiver {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let spans = Arc::<Mutex<Vec<Received>>>::default();
        let kept = spans.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move { while_it_lasts(stream, &kept).await });
            }
        });
        Ok(Self { url, spans, _server: AbortOnDropHandle::new(server) })
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub fn spans(&self) -> Vec<Received> {
        self.spans.lock().unwrap().clone()
    }
}

async fn while_it_lasts(stream: TcpStream, kept: &Mutex<Vec<Received>>) {
    let mut stream = BufReader::new(stream);
    while let Ok(spans) = request(&mut stream).await {
        kept.lock().unwrap().extend(spans);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Result<Vec<Received>> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    ensure!(line.starts_with("POST /v1/traces "), "{line}");
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        match line.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse()?,
            Some((name, value)) if name.eq_ignore_ascii_case("content-type") => {
                ensure!(value == "application/x-protobuf", "{line}")
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let export = ExportTraceServiceRequest::decode(body.as_slice()).context("no OTLP")?;
    let resources = export.resource_spans.into_iter();
    Ok(resources
        .flat_map(|it| {
            let service = it.resource.map(|resource| texts(resource.attributes)).unwrap_or_default();
            let service = service.get("service.name").cloned().unwrap_or_default();
            let spans = it.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.map(move |span| received(span, &service)).collect::<Vec<_>>()
        })
        .collect())
}

fn received(span: Span, service: &str) -> Received {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Received {
        service: service.to_owned(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        kind: span.kind,
        attributes: texts(span.attributes),
        error: span.status.filter(|status| status.code == 2).map(|status| status.message),
        times: (span.start_time_unix_nano, span.end_time_unix_nano),
    }
}

fn texts(attributes: Vec<KeyValue>) -> HashMap<String, String> {
    let text = |value| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(whether)) => whether.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|it| (it.key, text(it.value.and_then(|value| value.value)))).collect()
}
