//! `almagest scheduler` and `almagest executor`: the processes of a cluster.

use std::io::Read;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use almagest::cluster::{
    ClusterKey, Ended, ExecutorOptions, Limits, Scheduler, SchedulerOptions, run_executor,
};
use almagest::{Error, Result};
use futures::FutureExt;

use crate::arguments::{ExecutorArguments, MessageArguments, SchedulerArguments, SessionArguments};

/// Runs a scheduler until the process is ended.
///
/// # Errors
/// `Unreachable` if the port is taken.
pub async fn scheduler(arguments: &SchedulerArguments, messages: MessageArguments) -> Result<()> {
    let key = read_key(arguments.cluster_key.as_deref())?;
    check_bind(arguments.bind, key.is_some() || arguments.insecure)?;
    let options = SchedulerOptions {
        bind: arguments.bind,
        port: arguments.port,
        executor_timeout_seconds: arguments.executor_timeout.max(1),
        limits: Limits {
            running_max: arguments.max_queries.get(),
            waiting_max: arguments.max_queued,
            session_max: arguments.max_per_session.unwrap_or(arguments.max_queries).get(),
            time_max: arguments.time_limit.map(Duration::from_secs),
        },
        key,
    };
    let scheduler = Scheduler::bind(&almagest::registry()?, &options).await?;
    let url = scheduler.address().url();
    println!("{url}");
    if !messages.quiet {
        let key = arguments.cluster_key.as_ref();
        let key = key.map(|path| format!(" --cluster-key {}", path.display()));
        let key = key.unwrap_or_default();
        eprintln!(
            "the scheduler listens; give it executors: almagest executor --scheduler {url}{key}"
        );
    }
    scheduler.run().await
}

/// Runs an executor until the process is ended.
///
/// # Errors
/// `Unreachable` if there is no scheduler.
pub async fn executor(
    arguments: &ExecutorArguments,
    session: &SessionArguments,
    messages: MessageArguments,
) -> Result<()> {
    let key = read_key(arguments.cluster_key.as_deref())?;
    check_bind(arguments.bind, key.is_some() || arguments.insecure)?;
    let options = ExecutorOptions {
        registry: almagest::registry()?,
        name: arguments.name.clone(),
        scheduler: arguments.scheduler.clone(),
        bind: arguments.bind,
        cores: arguments.cores.map_or_else(almagest::cores, NonZeroUsize::get),
        memory_bytes_max: session.memory_limit,
        work_dir: arguments.work_dir.clone().unwrap_or_else(std::env::temp_dir),
        disk_bytes_max: arguments.disk_limit.or(session.spill_limit).map(|bytes| bytes as u64),
        heartbeat_seconds: arguments.heartbeat.max(1),
        connect_seconds: arguments.connect_timeout,
        key,
    };
    if !messages.quiet {
        let (cores, url) = (options.cores, options.scheduler.url());
        eprintln!("an executor with {cores} cores works for {url}; Ctrl-C ends it");
    }
    let mut told_to_end = EndSignal::listen()?;
    if let Some(seconds) = arguments.drain_after {
        tokio::spawn(terminate_after(Duration::from_secs(seconds)));
    }
    let ended = tokio::select! {
        ended = run_executor(&options) => ended?,
        () = input_end(), if arguments.until_input_ends => return Ok(()),
    };
    match ended {
        Ended::Asked => Ok(()),
        // a scheduler often ends together with its executors
        Ended::SchedulerLost if told_to_end.came() => Ok(()),
        Ended::SchedulerLost => {
            if !messages.quiet {
                eprintln!("the scheduler is gone, and its queries with it; waiting for the next");
            }
            begin_anew()
        }
    }
}

/// Whether this process was told to end, as `kill` does.
struct EndSignal {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl EndSignal {
    fn listen() -> Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .map_err(|cause| Error::unreachable(format!("no signals: {cause}")))?,
        })
    }

    fn came(&mut self) -> bool {
        #[cfg(unix)]
        return self.signal.recv().now_or_never().is_some();
        #[cfg(not(unix))]
        return false;
    }
}

/// Asks this process to end, as `kill` does: its tasks are finished first.
async fn terminate_after(time: Duration) {
    tokio::time::sleep(time).await;
    let process = std::process::id().to_string();
    let asked = tokio::process::Command::new("kill").args(["-TERM", &process]).status().await;
    if let Err(cause) = asked {
        log::error!("cannot end after the time that was given: {cause}");
    }
}

/// Becomes a new process of the same command: what the old one still computes ends with it.
fn begin_anew() -> Result<()> {
    let failed = |cause: std::io::Error| {
        Error::unreachable(format!("the scheduler is gone, and a new start failed: {cause}"))
    };
    let command = std::env::current_exe().map_err(failed)?;
    let mut command = std::process::Command::new(command);
    command.args(std::env::args_os().skip(1));
    #[cfg(unix)]
    return Err(failed(std::os::unix::process::CommandExt::exec(&mut command)));
    #[cfg(not(unix))]
    command.spawn().map(drop).map_err(failed)
}

/// Waits for the end of standard input.
async fn input_end() {
    let reading = tokio::task::spawn_blocking(|| {
        let mut input = std::io::stdin().lock();
        let mut ignored = [0; 64];
        while input.read(&mut ignored).is_ok_and(|count| count > 0) {}
    });
    let _ = reading.await;
}

/// The key in a file, if one is named.
///
/// # Errors
/// Those of [`ClusterKey::read`].
pub fn read_key(path: Option<&Path>) -> Result<Option<ClusterKey>> {
    path.map(ClusterKey::read).transpose()
}

/// Refuses addresses that other machines can reach, unless a key or the user's word allows it, and
/// those that none can.
pub fn check_bind(bind: IpAddr, allowed: bool) -> Result<()> {
    if bind.is_unspecified() {
        return Err(Error::plan(format!(
            "nobody can connect to {bind}; bind to the address of one of this machine's networks"
        )));
    }
    if bind.is_loopback() || allowed {
        return Ok(());
    }
    Err(Error::plan(format!(
        "other machines could connect to {bind}, and whoever does can run anything; give a \
         --cluster-key (almagest cluster key FILE makes one), bind to 127.0.0.1, or add --insecure if \
         only trusted machines are in that network"
    )))
}
