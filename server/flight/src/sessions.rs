//! What makes the sessions of a server, and so decides where their queries run.
//!
//! In: a registry whose stores are guarded, and options. Out: sessions, and processes for all of them. Whoever
//! runs a server implements it. Not here: whether there is a cluster, and which; the endpoint never asks.

use std::any::Any;

use almagest_engine::registry::Registry;
use almagest_engine::{AlmagestOptions, Result, Session, SessionOptions};
use async_trait::async_trait;

/// Makes the sessions of a server.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// All that sessions have. The server guards its stores.
    fn registry(&self) -> &Registry;

    /// A session of `registry`, whose queries run where `options.own` says.
    ///
    /// # Errors
    /// `Plan` if an option cannot be met.
    fn session(&self, registry: &Registry, options: &SessionOptions) -> Result<Session>;

    /// Starts so many processes, which run the queries of all sessions; together they use what `options` allow.
    ///
    /// # Errors
    /// `Unreachable` if one does not start, `Unsupported` if there are none.
    async fn start_processes(&self, options: &SessionOptions, count: usize) -> Result<Processes>;
}

/// Processes that run queries.
pub struct Processes {
    /// The settings of sessions whose queries they run.
    pub settings: AlmagestOptions,
    /// What ends them when it is dropped.
    pub held: Box<dyn Any + Send + Sync>,
}
