//! The scheduler: takes plans, makes stages of them, gives their tasks to executors.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use almagest_engine::registry::Registry;
use almagest_engine::{Error, Result};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_core::{ConfigProducer, JobId};
use ballista_scheduler::SessionBuilder;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::cluster::memory::InMemoryJobState;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::create_scheduler;
use datafusion::common::runtime::SpawnedTask;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::service::Routes;

use super::assembly::Assembly;
use super::ballista_server::Server;
use super::careful_state::CarefulState;
use super::contact::MESSAGE_BYTES_MAX;
use super::gatekeeper::Gatekeeper;
use super::served::serve;
use super::{Address, ClusterKey, Limits, Watcher};

/// How long one may be silent before its tasks go to others: above the pauses of a busy one.
const SILENCE_SECONDS: u64 = 30;

/// Where a scheduler listens.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    /// The address of one of this machine's networks.
    pub bind: IpAddr,
    /// The port; 0 for any that is free.
    pub port: u16,
    /// How long an executor may be silent.
    pub executor_timeout_seconds: u64,
    /// What queries may take.
    pub limits: Limits,
    /// What executors and clients must hold; none if whoever connects is served.
    pub key: Option<ClusterKey>,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            bind: IpAddr::from([127, 0, 0, 1]),
            port: super::address::SCHEDULER_PORT,
            executor_timeout_seconds: SILENCE_SECONDS,
            limits: Limits::default(),
            key: None,
        }
    }
}

/// A scheduler that listens.
pub struct Scheduler {
    listener: TcpListener,
    server: Server,
    service: SchedulerGrpcServer<Gatekeeper>,
    address: Address,
    key: Option<ClusterKey>,
    broken: mpsc::UnboundedReceiver<JobId>,
}

impl Scheduler {
    /// Listens, with the formats, stores and functions of `registry`. Queries are taken once
    /// [`Scheduler::run`] runs.
    ///
    /// # Errors
    /// `Unreachable` if the port is taken.
    pub fn bind<'a>(
        registry: &'a Registry,
        options: &'a SchedulerOptions,
    ) -> BoxFuture<'a, Result<Self>> {
        Box::pin(async move {
            let wanted = SocketAddr::new(options.bind, options.port);
            let failed = |cause: std::io::Error| {
                Error::unreachable(format!(
                    "cannot listen at {wanted}: {cause}; choose another --port"
                ))
            };
            let listener = TcpListener::bind(wanted).await.map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            let address = Address { host: bound.ip().to_string(), port: bound.port() };

            let key = options.key.clone();
            let assembly = Assembly::new(registry.clone(), 1).with_key(key.clone());
            let (settings, sessions) = (assembly.clone(), assembly.clone());
            let (tell_broken, broken) = mpsc::unbounded_channel();
            let state = Arc::new(CarefulState::new(tell_broken));
            let cores = state.cores();
            // a query that says nothing else is cut for the executors that there are
            let make_settings: ConfigProducer = Arc::new(move || {
                settings.settings().with_target_partitions(cores.load(Ordering::Relaxed).max(1))
            });
            let make_session: SessionBuilder =
                Arc::new(move |settings| Ok(sessions.state(settings)?));
            let config = Arc::new(SchedulerConfig {
                bind_host: options.bind.to_string(),
                external_host: address.host.clone(),
                bind_port: address.port,
                // Tasks begin at once, and those of a cancelled query end; an executor need not ask.
                scheduling_policy: TaskSchedulingPolicy::PushStaged,
                executor_timeout_seconds: options.executor_timeout_seconds,
                expire_dead_executor_interval_seconds: (options.executor_timeout_seconds / 4)
                    .max(1),
                grpc_server_max_decoding_message_size: MESSAGE_BYTES_MAX,
                grpc_server_max_encoding_message_size: MESSAGE_BYTES_MAX,
                grpc_client_max_message_size: MESSAGE_BYTES_MAX,
                use_tls: key.is_some(),
                override_create_grpc_client_endpoint: key.as_ref().map(ClusterKey::for_all),
                override_config_producer: Some(Arc::clone(&make_settings)),
                override_session_builder: Some(Arc::clone(&make_session)),
                override_logical_codec: Some(assembly.logical_codec()),
                override_physical_codec: Some(assembly.physical_codec()),
                ..SchedulerConfig::default()
            });
            let not_started = |cause: ballista_core::error::BallistaError| {
                Error::bug("the scheduler did not start").caused_by(cause)
            };
            let jobs =
                InMemoryJobState::new(config.scheduler_id.clone(), make_session, make_settings);
            let jobs = Arc::new(jobs);
            let cluster = BallistaCluster::new(state, Arc::clone(&jobs) as _);
            let server: Server = create_scheduler(cluster, config).await.map_err(not_started)?;
            let limit = MESSAGE_BYTES_MAX as usize;
            let gatekeeper = Gatekeeper::new(server.clone(), jobs, options.limits);
            let service = SchedulerGrpcServer::new(gatekeeper)
                .max_encoding_message_size(limit)
                .max_decoding_message_size(limit);
            Ok(Self { listener, server, service, address, key, broken })
        })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sees which executors there are.
    pub fn watcher(&self) -> Watcher {
        Watcher::new(self.server.clone())
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// `Unreachable` if the network fails.
    pub fn run(self) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let _cancelling = SpawnedTask::spawn(cancel(self.server.clone(), self.broken));
            let services = Routes::new(self.service);
            let stopped = |cause| Error::unreachable("the scheduler stopped").caused_by(cause);
            let serving = serve(services, self.listener, self.key.as_ref()).map_err(stopped)?;
            serving.await.map_err(stopped)
        })
    }
}

/// Cancels the queries that must begin anew.
async fn cancel(server: Server, mut broken: mpsc::UnboundedReceiver<JobId>) {
    while let Some(job_id) = broken.recv().await {
        // one that has ended meanwhile needs nothing
        let _ = server.cancel_job(job_id).await;
    }
}
