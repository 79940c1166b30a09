//! The server: it listens, serves each connection, and ends in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use almagest_engine::{Error, Result};
use arrow_flight::flight_service_server::FlightServiceServer;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::{Certificate, Identity as TlsIdentity, Server, ServerTlsConfig};

use super::connections::{ConnectionLimits, Door, connections};
use super::endpoint::Endpoint;
use super::gate::{Entrance, Gate};
use super::requests::Watched;
use super::shared::Shared;

/// Bytes of the largest message that a client may send: a batch that is ingested.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Calls that one connection may have open.
const STREAMS_MAX: u32 = 100;
/// Calls that a client may begin and break off before they are looked at, and that may be broken off for
/// what it did wrong; then its connection ends.
const BROKEN_OFF_MAX: (usize, usize) = (20, 100);
/// Bytes of what stands before a request: who asks, and what a proxy adds.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// Bytes that a client may send before they are read, of a call and of a connection. They are in no
/// ledger, and one address may have hundreds of connections; less would keep one that is far away from
/// bringing its rows as fast as they are written. Some calls that are not read keep no other waiting.
const WINDOW_BYTES: (u32, u32) = (512 << 10, 2 << 20);
/// How often a silent connection is asked whether it is there, and how long it has for an answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));
/// Connections for each session that there may be: a client may have some for itself.
const CONNECTIONS_PER_SESSION: usize = 2;
/// How often unused sessions are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Where and how it is reached.
#[derive(Clone, Debug)]
pub struct FlightOptions {
    /// The address for Flight; port 0 is any that is free.
    pub bind: SocketAddr,
    /// The address for health and metrics; none without.
    pub http: Option<SocketAddr>,
    /// Encryption; none without.
    pub tls: Option<TlsFiles>,
    /// How long running queries may take after the server is asked to end.
    pub grace: Duration,
}

/// Files in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, and those that sign it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs the certificates that clients must have, if they must.
    pub client_ca: Option<PathBuf>,
}

/// A server that listens already.
pub struct FlightServer {
    listener: TcpListener,
    http: Option<TcpListener>,
    tls: Option<ServerTlsConfig>,
    gate: Arc<Gate>,
    shared: Arc<Shared>,
    grace: Duration,
}

impl FlightServer {
    /// Listens.
    ///
    /// # Errors
    /// `Unreachable` if an address cannot be taken, `NotFound` and `Plan` for certificates.
    pub fn bind<'a>(
        options: &'a FlightOptions,
        shared: Arc<Shared>,
        entrance: Entrance,
    ) -> BoxFuture<'a, Result<Self>> {
        Box::pin(async move {
            let tls = options.tls.as_ref().map(tls).transpose()?;
            let http = match options.http {
                Some(address) => Some(listener(address).await?),
                None => None,
            };
            let listener = listener(options.bind).await?;
            let gate = Arc::new(Gate::new(Arc::clone(&shared), entrance));
            Ok(Self { listener, http, tls, gate, shared, grace: options.grace })
        })
    }

    /// Where Flight is reached.
    ///
    /// # Errors
    /// `Unreachable`, which does not happen to a socket that listens.
    pub fn address(&self) -> Result<SocketAddr> {
        address_of(&self.listener)
    }

    /// Where health and metrics are reached.
    ///
    /// # Errors
    /// As [`FlightServer::address`].
    pub fn http_address(&self) -> Result<Option<SocketAddr>> {
        self.http.as_ref().map(address_of).transpose()
    }

    /// Serves until `end`; then queries that run may finish for a while, and no new one begins.
    ///
    /// # Errors
    /// `Unreachable` if the socket fails.
    pub fn run(self, end: BoxFuture<'static, ()>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let ends = watch::Sender::new(false);
            let is_ready = Arc::new(AtomicBool::new(true));
            let gate = Arc::clone(&self.gate);
            let sweeping = tokio::spawn(async move {
                loop {
                    tokio::time::sleep(SWEEP_EVERY).await;
                    gate.sweep();
                }
            });
            let health = self.http.map(|listener| {
                let app = health(Arc::clone(&self.shared), Arc::clone(&is_ready));
                tokio::spawn(async move { axum::serve(listener, app).await })
            });
            let limits = &self.shared.limits;
            let door = Arc::new(Door::new(ConnectionLimits {
                count_max: limits.sessions_max.saturating_mul(CONNECTIONS_PER_SESSION),
                of_address_max: limits.client_sessions_max.saturating_mul(CONNECTIONS_PER_SESSION),
                first_request: limits.first_request,
                idle_max: limits.idle_max,
            }));
            let service = FlightServiceServer::new(Endpoint::new(Arc::clone(&self.gate)))
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(usize::MAX);
            let service = Watched::new(service, limits.idle_max);
            let mut builder = Server::builder()
                .max_concurrent_streams(STREAMS_MAX)
                .initial_stream_window_size(WINDOW_BYTES.0)
                .initial_connection_window_size(WINDOW_BYTES.1)
                .http2_max_header_list_size(HEADER_BYTES_MAX)
                .http2_max_pending_accept_reset_streams(Some(BROKEN_OFF_MAX.0))
                .http2_max_local_error_reset_streams(Some(BROKEN_OFF_MAX.1))
                .http2_keepalive_interval(Some(KEEPALIVE.0))
                .http2_keepalive_timeout(Some(KEEPALIVE.1));
            if let Some(tls) = self.tls {
                let encrypted = builder.tls_config(tls);
                builder = encrypted.map_err(|cause| {
                    Error::plan(format!(
                        "the certificate or key is not usable: {}",
                        root_of(&cause)
                    ))
                })?;
            }
            let mut ended = ends.subscribe();
            let serving = builder.add_service(service).serve_with_incoming_shutdown(
                connections(self.listener, self.gate, door),
                async move {
                    let _ = ended.wait_for(|ended| *ended).await;
                },
            );
            let mut serving = Box::pin(serving);
            let outcome = tokio::select! {
                outcome = &mut serving => outcome,
                () = end => {
                    is_ready.store(false, Ordering::Relaxed);
                    ends.send_replace(true);
                    tokio::time::timeout(self.grace, serving).await.unwrap_or(Ok(()))
                }
            };
            sweeping.abort();
            if let Some(health) = health {
                health.abort();
            }
            outcome.map_err(|cause| {
                Error::unreachable(format!("the server cannot go on: {}", root_of(&cause)))
            })
        })
    }
}

async fn listener(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|cause| {
        Error::unreachable(format!(
            "cannot listen at {address}: {cause}; choose another address or port"
        ))
    })
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr> {
    listener
        .local_addr()
        .map_err(|cause| Error::unreachable(format!("the socket is gone: {cause}")))
}

/// The innermost cause, which alone says something.
fn root_of(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

fn tls(files: &TlsFiles) -> Result<ServerTlsConfig> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|cause| {
            Error::not_found(format!("cannot read the certificate or key: {cause}"))
                .with("file", path.display())
        })
    };
    let identity = TlsIdentity::from_pem(read(&files.certificate)?, read(&files.key)?);
    let mut config = ServerTlsConfig::new().identity(identity);
    if let Some(path) = &files.client_ca {
        config = config.client_ca_root(Certificate::from_pem(read(path)?));
    }
    Ok(config)
}

fn health(shared: Arc<Shared>, is_ready: Arc<AtomicBool>) -> Router {
    let ready = move || async move {
        match is_ready.load(Ordering::Relaxed) {
            true => (StatusCode::OK, "ready\n"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "ending\n"),
        }
    };
    const TEXT: [(&str, &str); 1] =
        [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let metrics = move || async move { (TEXT, shared.metrics.text()) };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}
