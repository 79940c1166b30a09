//! `--cluster local:N`: a scheduler in this process and executors as processes of their own.
//!
//! The executors end with this process, also when it is killed: each waits for the end of its
//! standard input, which is a pipe that only this process holds open.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use almagest_engine::registry::Registry;
use almagest_engine::{Error, Result};
use futures::future::BoxFuture;
use tokio::process::{Child, Command};

use super::{Address, ClusterKey, Scheduler, SchedulerOptions, Watcher};

/// How long executors may take to start.
const START_LONGEST: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// The executors of a cluster on this machine.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// Formats, stores and functions of the scheduler: those of the command.
    pub registry: Registry,
    /// The command whose sub-command `executor` is an executor.
    pub command: PathBuf,
    /// How many executors.
    pub executors: usize,
    /// The cores of each.
    pub cores: usize,
    /// Bytes that all of them together may hold before they spill.
    pub memory_bytes_max: Option<usize>,
    /// The folder for spilled and shuffled data; the system's for temporary files if absent.
    pub work_dir: Option<PathBuf>,
    /// Bytes that each of them may keep in it.
    pub disk_bytes_max: Option<u64>,
    /// How often an executor says that it lives.
    pub heartbeat_seconds: u64,
    /// The scheduler; its port is a free one if 0.
    pub scheduler: SchedulerOptions,
    /// The file of the cluster's key, if it is to have one.
    pub key_file: Option<PathBuf>,
}

/// A cluster on this machine. Dropped, its executors end.
#[derive(Debug)]
pub struct LocalCluster {
    address: Address,
    watcher: Watcher,
    executors: Vec<Child>,
}

impl LocalCluster {
    /// Starts the processes, and waits until all executors can take tasks.
    ///
    /// # Errors
    /// `Unreachable` if one does not start.
    pub fn start<'a>(options: &'a LocalOptions) -> BoxFuture<'a, Result<Self>> {
        Box::pin(async move {
            let key = options.key_file.as_deref().map(ClusterKey::read).transpose()?;
            let scheduler = SchedulerOptions { key, ..options.scheduler.clone() };
            let scheduler = Scheduler::bind(&options.registry, &scheduler).await?;
            let address = scheduler.address().clone();
            let watcher = scheduler.watcher();
            tokio::spawn(scheduler.run());
            let executors = (0..options.executors).map(|number| spawn(options, &address, number));
            let executors = executors.collect::<Result<_>>()?;
            let mut cluster = Self { address, watcher, executors };
            let started = Instant::now();
            while cluster.watcher.executors().await.len() < options.executors {
                cluster.check()?;
                if started.elapsed() > START_LONGEST {
                    return Err(Error::unreachable(format!(
                        "the executors did not start within {} s",
                        START_LONGEST.as_secs()
                    )));
                }
                tokio::time::sleep(POLL).await;
            }
            Ok(cluster)
        })
    }

    /// Where the scheduler listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Looks at the scheduler.
    pub fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    /// The process ids of the executors that were started, which are called `local-0`, `local-1` …
    pub fn process_ids(&self) -> Vec<Option<u32>> {
        self.executors.iter().map(Child::id).collect()
    }

    /// Starts one more executor, which takes tasks once it is known to the scheduler.
    ///
    /// # Errors
    /// `Unreachable` if the process does not start.
    pub fn add_executor(&mut self, options: &LocalOptions) -> Result<()> {
        self.executors.push(spawn(options, &self.address, self.executors.len())?);
        Ok(())
    }

    /// Whether all executors still run.
    fn check(&mut self) -> Result<()> {
        for executor in &mut self.executors {
            if let Ok(Some(status)) = executor.try_wait() {
                let message = format!("an executor ended as it started ({status})");
                return Err(Error::unreachable(message));
            }
        }
        Ok(())
    }
}

fn spawn(options: &LocalOptions, scheduler: &Address, number: usize) -> Result<Child> {
    let work_dir = options.work_dir.clone().unwrap_or_else(std::env::temp_dir);
    let mut command = Command::new(&options.command);
    command
        .args(["executor", "--quiet", "--until-input-ends", "--scheduler", &scheduler.url()])
        .args(["--name", &format!("local-{number}")])
        .args(["--cores", &options.cores.to_string()])
        .args(["--heartbeat", &options.heartbeat_seconds.to_string()])
        .arg("--work-dir")
        .arg(work_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    if let Some(path) = &options.key_file {
        command.arg("--cluster-key").arg(path);
    }
    if let Some(bytes) = options.memory_bytes_max {
        let share = bytes / options.executors.max(1);
        command.args(["--memory-limit", &share.to_string()]);
    }
    if let Some(bytes) = options.disk_bytes_max {
        command.args(["--disk-limit", &bytes.to_string()]);
    }
    // Ctrl-C in a terminal is meant for the shell, which cancels its query.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn().map_err(|cause| {
        Error::unreachable(format!("cannot start an executor: {cause}"))
            .with("command", options.command.display())
    })
}
