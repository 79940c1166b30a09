//! How the ports of a cluster are served: with TLS for who has the key, or without.
//!
//! In: services, a listener. Out: a future that serves, of one type for all. Not here: what the services do.

use std::future::pending;

use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Error, Server};

use super::ClusterKey;

/// Serves, once it is awaited.
pub type Serving = BoxFuture<'static, Result<(), Error>>;

/// Serves until the process ends.
///
/// # Errors
/// Those of the key; the future gives those of the network.
pub fn serve(
    services: Routes,
    listener: TcpListener,
    key: Option<&ClusterKey>,
) -> Result<Serving, Error> {
    serve_until(services, listener, key, Box::pin(pending()))
}

/// Serves until `end`, and then finishes what it has begun.
///
/// # Errors
/// Those of the key; the future gives those of the network.
pub fn serve_until(
    services: Routes,
    listener: TcpListener,
    key: Option<&ClusterKey>,
    end: BoxFuture<'static, ()>,
) -> Result<Serving, Error> {
    let mut server = Server::builder();
    if let Some(key) = key {
        server = server.tls_config(key.server())?;
    }
    let clients = TcpIncoming::from(listener);
    Ok(Box::pin(server.add_routes(services).serve_with_incoming_shutdown(clients, end)))
}
