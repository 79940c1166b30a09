//! How a scheduler is reached: its address, and the key of its cluster.

use std::error::Error as _;
use std::fmt;

use almagest_engine::{Error, Result};
use ballista_core::serde::protobuf::GetJobStatusParams;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::utils::create_grpc_client_endpoint;
use tonic::Status;
use tonic::transport::Channel;

use super::{Address, ClusterKey};

/// Bytes of the largest message between processes: plans, task lists, batches of results.
pub const MESSAGE_BYTES_MAX: u32 = 256 << 20;

/// A connection to a scheduler.
pub type Client = SchedulerGrpcClient<Channel>;

/// A scheduler, as its clients and executors know it.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Where it listens.
    pub address: Address,
    /// What it asks for.
    pub key: Option<ClusterKey>,
}

impl Contact {
    /// Connects. That the other end takes the key is known with its first answer.
    ///
    /// # Errors
    /// `Unreachable` if nobody answers, or only one end has a key.
    pub async fn connect(&self) -> Result<Client> {
        let unreachable = |cause: &(dyn std::error::Error + 'static)| self.unreachable(cause);
        let url = match &self.key {
            None => self.address.url(),
            Some(_) => format!("https://{}", self.address),
        };
        let endpoint = create_grpc_client_endpoint(url, None).map_err(|c| unreachable(&c))?;
        let endpoint = match &self.key {
            None => endpoint,
            Some(key) => key.secured(endpoint).map_err(|cause| unreachable(cause.as_ref()))?,
        };
        let channel = endpoint.connect().await.map_err(|cause| unreachable(&cause))?;
        let limit = MESSAGE_BYTES_MAX as usize;
        Ok(Client::new(channel).max_encoding_message_size(limit).max_decoding_message_size(limit))
    }

    /// Makes sure that the scheduler talks to us.
    ///
    /// # Errors
    /// As of [`Contact::connect`].
    pub async fn check(&self) -> Result<()> {
        let no_query = GetJobStatusParams { job_id: String::new() };
        match self.connect().await?.get_job_status(no_query).await {
            Err(status) if status.source().is_some() => Err(self.broken(&status)),
            _ => Ok(()),
        }
    }

    /// What to say of a request that did not come through, as its status has a source.
    pub fn broken(&self, status: &Status) -> Error {
        self.unreachable(status)
    }

    fn unreachable(&self, cause: &(dyn std::error::Error + 'static)) -> Error {
        let hint = match self.key {
            Some(_) => "was it started with the same --cluster-key?",
            None => "start one with almagest scheduler; if it has a --cluster-key, give the same",
        };
        Error::unreachable(format!(
            "no scheduler answers at {}: {}; {hint}",
            self.address,
            root_of(cause)
        ))
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// The innermost cause: transport errors wrap it in several layers that say nothing.
fn root_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}
