//! HTTP for those who watch a process: `/metrics`, `/health/live`, `/health/ready`. No more, and nothing that changes
//! anything.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::text;
use crate::databases::Databases;
use crate::error::{Error, Result};
use crate::telemetry::health::{live, ready, Health};

/// Whoever is slower with its request is no scraper.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at the same time.
const CONNECTIONS: usize = 64;
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// A process's HTTP. [`stop`](Self::stop) it before dropping it.
#[derive(Debug)]
#[must_use = "it answers until it is stopped"]
pub struct Endpoint {
    address: SocketAddr,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Endpoint {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests and lets those under way end, for a moment.
    pub async fn stop(&self) {
        self.shutdown.cancel();
        let _bounded = tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await;
    }
}

/// Answers HTTP at `address` (port 0: any that is free) for a process with these links.
///
/// # Errors
/// [`Error::Listen`] when the address cannot be had.
pub async fn serve(address: SocketAddr, databases: Databases) -> Result<Endpoint> {
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(accept(listener, databases, shutdown.clone(), tasks.clone()));
    tasks.close();
    tracing::info!(%address, "metrics and health are served");
    Ok(Endpoint { address, shutdown, tasks })
}

async fn accept(listener: TcpListener, databases: Databases, shutdown: CancellationToken, tasks: TaskTracker) {
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) if tasks.len() <= CONNECTIONS => {
                tasks.spawn(connection(stream, databases.clone(), shutdown.clone()));
            }
            Ok(_one_too_many) => {}
            // No more files, or the peer has hung up already.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connection(stream: TcpStream, databases: Databases, shutdown: CancellationToken) {
    let service = service_fn(|request| answer(request, &databases));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection for metrics broke");
    }
}

async fn answer(request: Request<Incoming>, databases: &Databases) -> Result<Response<String>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned()));
    }
    Ok(match request.uri().path() {
        "/metrics" => response(StatusCode::OK, TEXT, text(std::slice::from_ref(databases)).await),
        "/health/live" => health(&live(databases)),
        "/health/ready" => health(&ready(databases).await),
        _ => response(StatusCode::NOT_FOUND, TEXT, "there are /metrics, /health/live and /health/ready\n".to_owned()),
    })
}

fn health(health: &Health) -> Response<String> {
    let status = if health.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Texts and numbers into memory: cannot fail.
    response(status, JSON, serde_json::to_string(health).unwrap_or_default())
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
