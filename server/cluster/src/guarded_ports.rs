//! The ports of an executor whose cluster has a key.
//!
//! Ballista lets the server of an executor's results be replaced, but opens the one that takes tasks by
//! itself, without TLS. So that one listens where only this machine can connect, and a server with
//! TLS in front of it hands on what the scheduler sends. Others on this machine can connect past it;
//! so each task that it hands on gets a secret of this process, and one without is refused.

use std::any::Any;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use almagest_engine::{Error, Result};
use async_trait::async_trait;
use ballista_core::serde::protobuf::executor_grpc_client::ExecutorGrpcClient;
use ballista_core::serde::protobuf::executor_grpc_server::{ExecutorGrpc, ExecutorGrpcServer};
use ballista_core::serde::protobuf::{
    CancelTasksParams, CancelTasksResult, KeyValuePair, LaunchMultiTaskParams,
    LaunchMultiTaskResult, LaunchTaskParams, LaunchTaskResult, RemoveJobDataParams,
    RemoveJobDataResult, StopExecutorParams, StopExecutorResult,
};
use ballista_executor::ArrowFlightServerProvider;
use ballista_executor::flight_service::BallistaFlightService;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::error::Result as DfResult;
use datafusion::prelude::SessionConfig;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::ClusterKey;
use super::contact::MESSAGE_BYTES_MAX;
use super::served::{serve, serve_until};

/// Where Ballista's own server for tasks listens, if others are to connect to `public`: at the same
/// port, so at another address.
pub fn private_address(public: IpAddr) -> IpAddr {
    let usual = IpAddr::from(Ipv4Addr::LOCALHOST);
    if public == usual { IpAddr::from([127, 0, 0, 2]) } else { usual }
}

/// What each task of an executor must carry.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TaskSecret(String);

impl TaskSecret {
    /// A new one.
    pub fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string())
    }

    /// Whether a task has this one.
    ///
    /// # Errors
    /// `Plan` if it has not.
    pub fn check(&self, settings: &SessionConfig) -> Result<()> {
        let told = settings.options().extensions.get::<Self>();
        let told = told.map_or(&[] as &[u8], |told| told.0.as_bytes());
        if bool::from(told.ct_eq(self.0.as_bytes())) {
            return Ok(());
        }
        Err(Error::plan("a task that did not come from the scheduler is not run"))
    }
}

impl fmt::Debug for TaskSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskSecret")
    }
}

const SECRET: &str = "secret";

impl ConfigExtension for TaskSecret {
    const PREFIX: &'static str = "almagest_task";
}

impl ExtensionOptions for TaskSecret {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> DfResult<()> {
        match key {
            SECRET => self.0 = value.into(),
            _ => return Err(Error::plan(format!("there is no setting {key} of a task")).into()),
        }
        Ok(())
    }

    /// None: it is not to be read.
    fn entries(&self) -> Vec<ConfigEntry> {
        vec![]
    }
}

/// Listens for tasks at `public`, for who has `key`, and hands them on to the same port of
/// [`private_address`]. Ends with the runtime's tasks.
///
/// # Errors
/// `Unreachable` if the port is taken.
pub async fn guard_tasks(public: SocketAddr, key: &ClusterKey, secret: TaskSecret) -> Result<()> {
    let failed = |cause: String| Error::unreachable(format!("cannot listen at {public}: {cause}"));
    let listener = TcpListener::bind(public).await.map_err(|cause| failed(cause.to_string()))?;
    let private = SocketAddr::new(private_address(public.ip()), public.port());
    let endpoint = Endpoint::from_shared(format!("http://{private}"));
    let endpoint = endpoint.map_err(|cause| failed(cause.to_string()))?;
    let limit = MESSAGE_BYTES_MAX as usize;
    let tasks = ExecutorGrpcClient::new(endpoint.connect_lazy())
        .max_decoding_message_size(limit)
        .max_encoding_message_size(limit);
    let service = ExecutorGrpcServer::new(Guard { tasks, secret })
        .max_decoding_message_size(limit)
        .max_encoding_message_size(limit);
    let serving = serve(Routes::new(service), listener, Some(key));
    let serving = serving.map_err(|cause| failed(cause.to_string()))?;
    tokio::spawn(async move {
        if let Err(cause) = serving.await {
            log::error!("the server for tasks ended: {cause}");
        }
    });
    Ok(())
}

/// Hands on what a scheduler says to an executor.
struct Guard {
    tasks: ExecutorGrpcClient<Channel>,
    secret: TaskSecret,
}

#[async_trait]
impl ExecutorGrpc for Guard {
    async fn launch_task(
        &self,
        _: Request<LaunchTaskParams>,
    ) -> Result<Response<LaunchTaskResult>, Status> {
        Err(Status::unimplemented("tasks are taken by launch_multi_task"))
    }

    async fn launch_multi_task(
        &self,
        mut request: Request<LaunchMultiTaskParams>,
    ) -> Result<Response<LaunchMultiTaskResult>, Status> {
        for task in &mut request.get_mut().multi_tasks {
            let key = format!("{}.{SECRET}", TaskSecret::PREFIX);
            task.props.push(KeyValuePair { key, value: Some(self.secret.0.clone()) });
        }
        self.tasks.clone().launch_multi_task(request).await
    }

    async fn stop_executor(
        &self,
        request: Request<StopExecutorParams>,
    ) -> Result<Response<StopExecutorResult>, Status> {
        self.tasks.clone().stop_executor(request).await
    }

    async fn cancel_tasks(
        &self,
        request: Request<CancelTasksParams>,
    ) -> Result<Response<CancelTasksResult>, Status> {
        self.tasks.clone().cancel_tasks(request).await
    }

    async fn remove_job_data(
        &self,
        request: Request<RemoveJobDataParams>,
    ) -> Result<Response<RemoveJobDataResult>, Status> {
        self.tasks.clone().remove_job_data(request).await
    }
}

/// The server of an executor's results at `public`, for who has `key`.
pub fn guarded_results(public: SocketAddr, key: &ClusterKey) -> Arc<ArrowFlightServerProvider> {
    let key = key.clone();
    Arc::new(move |folder, _, mut shutdown, _| {
        let key = key.clone();
        tokio::spawn(async move {
            let limit = MESSAGE_BYTES_MAX as usize;
            let service = arrow_flight::flight_service_server::FlightServiceServer::new(
                BallistaFlightService::new(folder),
            )
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
            let listener = TcpListener::bind(public).await?;
            let end = Box::pin(async move { shutdown.recv().await });
            Ok(serve_until(Routes::new(service), listener, Some(&key), end)?.await?)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_needs_the_secret_of_its_executor() {
        let secret = TaskSecret::random();
        let task = |told: &str| {
            let mut settings = SessionConfig::new().with_option_extension(TaskSecret::default());
            settings.options_mut().set("almagest_task.secret", told).unwrap();
            settings
        };
        assert!(secret.check(&task(&secret.0)).is_ok());
        for wrong in ["", "x", &TaskSecret::random().0] {
            assert!(secret.check(&task(wrong)).is_err());
        }
        assert!(secret.check(&SessionConfig::new()).is_err());
        assert!(!format!("{:?}", task(&secret.0).options()).contains(&secret.0));
        let shown = task(&secret.0).options().entries();
        assert!(shown.iter().all(|entry| entry.value.as_ref() != Some(&secret.0)));
    }

    #[test]
    fn the_private_address_is_another_one() {
        for public in ["127.0.0.1", "127.0.0.2", "10.0.0.1", "::1", "0.0.0.0"] {
            let public: IpAddr = public.parse().unwrap();
            let private = private_address(public);
            assert!(private.is_loopback() && private != public);
        }
    }
}
