//! An executor: runs tasks, keeps what they shuffle on its disk.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use almagest_engine::bounds::with_value_limit;
use almagest_engine::registry::Registry;
use almagest_engine::{Error, Result};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use futures::future::BoxFuture;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use uuid::Uuid;

use super::assembly::Assembly;
use super::contact::{Contact, MESSAGE_BYTES_MAX};
use super::guarded_ports::{TaskSecret, guard_tasks, guarded_results, private_address};
use super::quota::Quota;
use super::wanted::Wanted;
use super::{Address, ClusterKey};

/// How often an executor says that it lives, if nothing else is asked for.
pub const HEARTBEAT_SECONDS: u64 = 5;

/// How often an executor looks for shuffled data that nobody asked to remove, as that of a client
/// that was killed.
const SWEEP_SECONDS: u64 = 600;
/// How long such data may lie there: a stage of a query that takes longer is run again.
const FORGOTTEN_SECONDS: u64 = 24 * 3600;

/// The pause before a connection to the scheduler is tried again.
const LOOK: Duration = Duration::from_millis(200);

/// Why an executor ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Asked,
    /// Its scheduler is gone, and with it every query: what still ran is of no use to anyone. The
    /// process should end; a new one may wait for the next scheduler.
    SchedulerLost,
}

/// What an executor may use, and where it belongs.
#[derive(Clone, Debug)]
pub struct ExecutorOptions {
    /// Formats, stores and functions: those of its scheduler.
    pub registry: Registry,
    /// What it is called, unlike all others of its scheduler; a random name if absent.
    pub name: Option<String>,
    /// Whose tasks it runs.
    pub scheduler: Address,
    /// The address of one of this machine's networks, for others to fetch results from.
    pub bind: IpAddr,
    /// Tasks at once, and threads for computing.
    pub cores: usize,
    /// Bytes that all tasks together may hold before they spill.
    pub memory_bytes_max: Option<usize>,
    /// The folder for spilled and shuffled data.
    pub work_dir: PathBuf,
    /// Bytes that tasks may keep there.
    pub disk_bytes_max: Option<u64>,
    /// How often it says that it lives.
    pub heartbeat_seconds: u64,
    /// How long to wait for the scheduler at the beginning.
    pub connect_seconds: u16,
    /// What the scheduler and other executors hold too; none if whoever connects is served.
    pub key: Option<ClusterKey>,
}

/// Runs an executor until it is told to end, or its scheduler is gone. Once in a process.
///
/// # Errors
/// `Unreachable` if there is no scheduler, or the folder cannot be written.
pub fn run_executor<'a>(options: &'a ExecutorOptions) -> BoxFuture<'a, Result<Ended>> {
    Box::pin(async move {
        let unwritable = |cause: std::io::Error| {
            Error::unreachable(format!(
                "cannot write to the work folder: {cause}; name another one"
            ))
            .with("folder", options.work_dir.display())
        };
        std::fs::create_dir_all(&options.work_dir).map_err(unwritable)?;
        let folder = tempfile::Builder::new().prefix("executor-").tempdir_in(&options.work_dir);
        let folder = folder.map_err(unwritable)?;
        let assembly =
            Assembly::new(options.registry.clone(), options.cores).with_key(options.key.clone());
        let functions = BallistaFunctionRegistry::from(&assembly.state(assembly.settings())?);
        reach(&options.scheduler, Duration::from_secs(options.connect_seconds.into())).await?;
        // that both have one key, or none
        let (address, key) = (options.scheduler.clone(), options.key.clone());
        let scheduler = Contact { address, key };
        scheduler.check().await?;
        let listen = match &options.key {
            None => options.bind,
            Some(_) => private_address(options.bind),
        };
        let [port, grpc_port] = free_ports(&[options.bind, listen])?;
        let guard = match &options.key {
            None => None,
            Some(key) => {
                let secret = TaskSecret::random();
                guard_tasks(SocketAddr::new(options.bind, grpc_port), key, secret.clone()).await?;
                Some((secret, guarded_results(SocketAddr::new(options.bind, port), key)))
            }
        };
        let (secret, results) = guard.unzip();
        let spill = folder.path().to_path_buf();
        let stores = assembly.clone();
        let name = options.name.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        let memory_share = options.memory_bytes_max.map(|bytes| bytes / options.cores.max(1));
        let wanted = Wanted::new(scheduler);
        let quota = Quota::new(options.disk_bytes_max, memory_share, secret, wanted);
        let config = ExecutorProcessConfig {
            executor_id: name,
            bind_host: listen.to_string(),
            external_host: Some(options.bind.to_string()),
            port,
            grpc_port,
            scheduler_host: options.scheduler.host.clone(),
            scheduler_port: options.scheduler.port,
            // it was reached already; Ballista 55 would wait for ever
            scheduler_connect_timeout_seconds: 0,
            vcores: options.cores,
            task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
            work_dir: Some(folder.path().display().to_string()),
            executor_heartbeat_interval_seconds: options.heartbeat_seconds,
            // what nobody asked to remove
            job_data_clean_up_interval_seconds: SWEEP_SECONDS,
            job_data_ttl_seconds: FORGOTTEN_SECONDS,
            grpc_max_decoding_message_size: MESSAGE_BYTES_MAX,
            grpc_max_encoding_message_size: MESSAGE_BYTES_MAX,
            override_arrow_flight_service: results,
            override_create_grpc_client_endpoint: options.key.as_ref().map(ClusterKey::for_all),
            override_execution_engine: Some(Arc::new(quota)),
            memory_pool_size: options.memory_bytes_max.map(|bytes| bytes as u64),
            override_function_registry: Some(Arc::new(functions)),
            override_runtime_producer: Some(Arc::new(move |_| {
                let runtime = RuntimeEnvBuilder::new().with_temp_file_path(&spill);
                stores.with_stores(runtime).build_arc()
            })),
            override_logical_codec: Some(assembly.logical_codec()),
            override_physical_codec: Some(assembly.physical_codec()),
            override_config_producer: Some(Arc::new(move || match memory_share {
                None => assembly.settings(),
                Some(bytes) => with_value_limit(assembly.settings(), bytes),
            })),
            ..ExecutorProcessConfig::default()
        };
        tokio::select! {
            ended = start_executor_process(Arc::new(config)) => match ended {
                Ok(()) => Ok(Ended::Asked),
                Err(cause) => Err(Error::unreachable(format!(
                    "the executor of {} ended: {cause}",
                    options.scheduler
                ))),
            },
            () = loss(&options.scheduler) => Ok(Ended::SchedulerLost),
        }
    })
}

/// Waits for the scheduler, but no longer than `longest`.
async fn reach(scheduler: &Address, longest: Duration) -> Result<()> {
    let begun = Instant::now();
    while let Err(cause) = connect(scheduler).await {
        if begun.elapsed() > longest {
            return Err(Error::unreachable(format!(
                "no scheduler answers at {scheduler}: {cause}; start one with almagest scheduler"
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until the scheduler is gone. A connection on which nothing is said stays open for as long
/// as its process lives, and ends with it, however soon the next one starts.
async fn loss(scheduler: &Address) {
    let connection = loop {
        match connect(scheduler).await {
            Ok(connection) => break connection,
            // the executor itself tells if it never finds its scheduler
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    };
    let mut said = [0; 64];
    loop {
        let read = connection.readable().await.and_then(|()| connection.try_read(&mut said));
        match read {
            Ok(0) => return,
            Ok(_) => {}
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

async fn connect(scheduler: &Address) -> std::io::Result<TcpStream> {
    let found = lookup_host((scheduler.host.as_str(), scheduler.port)).await?.next();
    let address = found.ok_or(ErrorKind::NotFound)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // so that the loss of the machine is noticed too
    socket.set_keepalive(true)?;
    socket.connect(address).await
}

/// Where an executor looks for ports: below those that systems give to connections, so that none is
/// taken between being found and being opened.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Two ports at which nobody listens on any of these addresses: an executor tells the scheduler its ports
/// before it opens them. Processes that start together begin to look at different ones.
fn free_ports(addresses: &[IpAddr]) -> Result<[u16; 2]> {
    let failed = |cause| {
        let address = addresses.first().map(ToString::to_string).unwrap_or_default();
        Error::unreachable(format!("cannot listen at {address}: {cause}"))
    };
    let count = u32::from(PORTS.end - PORTS.start);
    let first = (std::process::id() % (count / 2)) * 2;
    let mut taken = std::io::Error::from(ErrorKind::AddrInUse);
    let mut found = vec![];
    for number in first..first + count {
        let port = PORTS.start + (number % count) as u16;
        match addresses.iter().try_for_each(|ip| TcpListener::bind((*ip, port)).map(drop)) {
            Ok(()) => found.push(port),
            Err(cause) if cause.kind() == ErrorKind::AddrInUse => taken = cause,
            Err(cause) => return Err(failed(cause)),
        }
        if let [one, other] = found[..] {
            return Ok([one, other]);
        }
    }
    Err(failed(taken))
}
