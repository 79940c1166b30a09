//! The executors of `almagest.scheduler = 'processes'`, started for the first query that needs them.

use std::path::{Path, PathBuf};

use almagest_engine::registry::Registry;
use almagest_engine::{AlmagestOptions, Error, Result, SessionOptions};
use tokio::sync::Mutex;

use super::{Address, HEARTBEAT_SECONDS, LocalCluster, LocalOptions, SchedulerOptions};

/// The command whose sub-command `executor` is one.
const COMMAND: &str = "almagest";

/// The processes of a session. Dropped, they end.
#[derive(Debug)]
pub struct Processes {
    registry: Registry,
    options: SessionOptions,
    started: Mutex<Option<(usize, LocalCluster)>>,
}

impl Processes {
    /// None yet; together they may use what `options` allow.
    pub fn new(registry: Registry, options: SessionOptions) -> Self {
        Self { registry, options, started: Mutex::default() }
    }

    /// The scheduler of as many executors as `own` asks for, which are started if they are not there.
    ///
    /// # Errors
    /// `Unreachable` if one does not start.
    pub async fn address(&self, own: &AlmagestOptions) -> Result<Address> {
        let cores = self.options.threads.unwrap_or_else(almagest_engine::cores);
        let count = if own.processes == 0 { cores } else { own.processes };
        let mut started = self.started.lock().await;
        if let Some((_, cluster)) = started.as_ref().filter(|(running, _)| *running == count) {
            return Ok(cluster.address().clone());
        }
        // those of another number end first
        *started = None;
        let cluster =
            LocalCluster::start(&local_options(&self.registry, &self.options, count)?).await?;
        let address = cluster.address().clone();
        *started = Some((count, cluster));
        Ok(address)
    }
}

/// As many executors on this machine, which together may use what `options` allow.
///
/// # Errors
/// `NotFound` if the command almagest is not.
pub fn local_options(
    registry: &Registry,
    options: &SessionOptions,
    count: usize,
) -> Result<LocalOptions> {
    let cores = options.threads.unwrap_or_else(almagest_engine::cores);
    Ok(LocalOptions {
        registry: registry.clone(),
        command: command()?,
        executors: count,
        cores: (cores / count).max(1),
        memory_bytes_max: options.memory_bytes_max,
        work_dir: options.spill_dir.clone(),
        disk_bytes_max: options.spill_bytes_max.map(|bytes| bytes / count.max(1) as u64),
        heartbeat_seconds: HEARTBEAT_SECONDS,
        scheduler: SchedulerOptions { port: 0, ..SchedulerOptions::default() },
        key_file: None,
    })
}

/// The command `almagest`: this process, or the one that PATH names.
fn command() -> Result<PathBuf> {
    let this = std::env::current_exe().map_err(|cause| {
        Error::unreachable(format!("cannot tell which command this is: {cause}"))
    })?;
    let is_almagest = this.file_stem().is_some_and(|name| name == COMMAND);
    if is_almagest {
        return Ok(this);
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let name = Path::new(COMMAND).with_extension(std::env::consts::EXE_EXTENSION);
    let found = std::env::split_paths(&folders).map(|folder| folder.join(&name));
    found.into_iter().find(|command| command.is_file()).ok_or_else(|| {
        Error::not_found(
            "executors are processes of the command almagest, which is not on the PATH; add its \
             folder, or choose almagest.scheduler = 'threads'",
        )
    })
}
