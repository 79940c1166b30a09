//! An executor: runs tasks, keeps what they shuffle on its disk.

use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use almagest_engine::{Error, Result};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;

use super::Address;
use super::assembly::{Assembly, MESSAGE_BYTES_MAX};

/// How often an executor says that it lives, if nothing else is asked for.
pub const HEARTBEAT_SECONDS: u64 = 5;

/// What an executor may use, and where it belongs.
#[derive(Clone, Debug)]
pub struct ExecutorOptions {
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
    /// How often it says that it lives.
    pub heartbeat_seconds: u64,
    /// How long to wait for the scheduler.
    pub connect_seconds: u16,
}

/// Runs an executor until it is told to end.
///
/// # Errors
/// `Unreachable` if there is no scheduler, or the folder cannot be written.
pub async fn run_executor(options: &ExecutorOptions) -> Result<()> {
    let unwritable = |cause: std::io::Error| {
        Error::unreachable(format!("cannot write to the work folder: {cause}; name another one"))
            .with("folder", options.work_dir.display())
    };
    std::fs::create_dir_all(&options.work_dir).map_err(unwritable)?;
    let folder = tempfile::Builder::new().prefix("executor-").tempdir_in(&options.work_dir);
    let folder = folder.map_err(unwritable)?;
    let assembly = Assembly::new(options.cores);
    let functions = BallistaFunctionRegistry::from(&assembly.state(assembly.settings())?);
    let [port, grpc_port] = free_ports(options.bind)?;
    let spill = folder.path().to_path_buf();
    let stores = assembly.clone();
    let config = ExecutorProcessConfig {
        bind_host: options.bind.to_string(),
        external_host: Some(options.bind.to_string()),
        port,
        grpc_port,
        scheduler_host: options.scheduler.host.clone(),
        scheduler_port: options.scheduler.port,
        scheduler_connect_timeout_seconds: options.connect_seconds,
        vcores: options.cores,
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(folder.path().display().to_string()),
        executor_heartbeat_interval_seconds: options.heartbeat_seconds,
        grpc_max_decoding_message_size: MESSAGE_BYTES_MAX,
        grpc_max_encoding_message_size: MESSAGE_BYTES_MAX,
        memory_pool_size: options.memory_bytes_max.map(|bytes| bytes as u64),
        override_function_registry: Some(Arc::new(functions)),
        override_runtime_producer: Some(Arc::new(move |_| {
            let runtime = RuntimeEnvBuilder::new().with_temp_file_path(&spill);
            stores.with_stores(runtime).build_arc()
        })),
        override_logical_codec: Some(assembly.logical_codec()),
        override_physical_codec: Some(assembly.physical_codec()),
        override_config_producer: Some(Arc::new(move || assembly.settings())),
        ..ExecutorProcessConfig::default()
    };
    let ended = start_executor_process(Arc::new(config)).await;
    ended.map_err(|cause| {
        Error::unreachable(format!("the executor of {} ended: {cause}", options.scheduler))
    })
}

/// Ports that nobody listens at: an executor tells the scheduler its ports before it opens them.
fn free_ports(bind: IpAddr) -> Result<[u16; 2]> {
    let failed = |cause| Error::unreachable(format!("cannot listen at {bind}: {cause}"));
    let open = || TcpListener::bind((bind, 0)).map_err(failed);
    let held = [open()?, open()?];
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    Ok([port(&held[0]).map_err(failed)?, port(&held[1]).map_err(failed)?])
}
