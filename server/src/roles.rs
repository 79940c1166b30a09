//! `almagest scheduler` and `almagest executor`: the processes of a cluster; and `--cluster`.

use std::io::Read;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use almagest::cluster::{
    Address, ExecutorOptions, HEARTBEAT_SECONDS, LocalCluster, LocalOptions, Scheduler,
    SchedulerOptions, run_executor,
};
use almagest::{Error, Result, Session};
use clap::Args;

use crate::cli::{MessageArguments, SessionArguments};

/// Run a scheduler, which gives the tasks of queries to executors.
#[derive(Debug, Args)]
pub struct SchedulerArguments {
    /// The address to listen at.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// The port to listen at; 0 for any that is free.
    #[arg(long, default_value_t = 50050)]
    pub port: u16,
    /// Seconds of silence after which an executor counts as lost.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub executor_timeout: u64,
    /// Listen where other machines can connect, though nobody is asked who they are.
    #[arg(long)]
    pub insecure: bool,
}

/// Run an executor, which works for a scheduler.
#[derive(Debug, Args)]
pub struct ExecutorArguments {
    /// The scheduler to work for.
    #[arg(long, value_name = "URL")]
    pub scheduler: Address,
    /// The address at which other executors and clients fetch results.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Tasks to run at once [default: one for each core].
    #[arg(long, value_name = "N")]
    pub cores: Option<NonZeroUsize>,
    /// The directory for data that is spilled and shuffled [default: the system's for temporary
    /// files].
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// Seconds between two signs of life.
    #[arg(long, value_name = "SECONDS", default_value_t = HEARTBEAT_SECONDS)]
    pub heartbeat: u64,
    /// Seconds to wait for the scheduler.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub connect_timeout: u16,
    /// Listen where other machines can connect, though nobody is asked who they are.
    #[arg(long)]
    pub insecure: bool,
    /// End when standard input does.
    #[arg(long, hide = true)]
    pub until_input_ends: bool,
}

/// Where queries run.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// On the executors of a scheduler.
    At(Address),
    /// On this many processes of this machine, which end with the session.
    Local(NonZeroUsize),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(count) = text.strip_prefix("local:") else {
            let address = text.parse();
            return address.map(Self::At).map_err(|cause: String| format!("{cause}, or local:N"));
        };
        let count = count.parse();
        count.map(Self::Local).map_err(|_| format!("'{text}' needs a number, such as local:4"))
    }
}

/// Runs a scheduler until the process is ended.
///
/// # Errors
/// `Unreachable` if the port is taken.
pub async fn scheduler(arguments: &SchedulerArguments, messages: MessageArguments) -> Result<()> {
    check_bind(arguments.bind, arguments.insecure)?;
    let options = SchedulerOptions {
        bind: arguments.bind,
        port: arguments.port,
        executor_timeout_seconds: arguments.executor_timeout.max(1),
    };
    let scheduler = Scheduler::bind(&options).await?;
    let url = scheduler.address().url();
    println!("{url}");
    if !messages.quiet {
        eprintln!("the scheduler listens; give it executors: almagest executor --scheduler {url}");
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
    check_bind(arguments.bind, arguments.insecure)?;
    let options = ExecutorOptions {
        scheduler: arguments.scheduler.clone(),
        bind: arguments.bind,
        cores: arguments.cores.map_or_else(cores, NonZeroUsize::get),
        memory_bytes_max: session.memory_limit,
        work_dir: arguments.work_dir.clone().unwrap_or_else(std::env::temp_dir),
        heartbeat_seconds: arguments.heartbeat.max(1),
        connect_seconds: arguments.connect_timeout,
    };
    if !messages.quiet {
        let (cores, url) = (options.cores, options.scheduler.url());
        eprintln!("an executor with {cores} cores works for {url}; Ctrl-C ends it");
    }
    if !arguments.until_input_ends {
        return run_executor(&options).await;
    }
    tokio::select! {
        ended = run_executor(&options) => ended,
        () = input_end() => Ok(()),
    }
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

/// A session whose queries run at `place`, and what must live as long as it.
///
/// # Errors
/// `Unreachable` if an executor does not start.
pub async fn session_at(
    place: &Place,
    arguments: &SessionArguments,
) -> Result<(Session, Option<LocalCluster>)> {
    let options = arguments.options();
    let count = match place {
        Place::At(address) => return Ok((almagest::cluster::session(&options, address)?, None)),
        Place::Local(count) => count.get(),
    };
    let command = std::env::current_exe().map_err(|cause| {
        Error::unreachable(format!("cannot tell where the command almagest is: {cause}"))
    })?;
    let all_cores = options.threads.unwrap_or_else(cores);
    let local = LocalOptions {
        command,
        executors: count,
        cores: (all_cores / count).max(1),
        memory_bytes_max: options.memory_bytes_max,
        work_dir: options.spill_dir.clone(),
        heartbeat_seconds: HEARTBEAT_SECONDS,
        scheduler: SchedulerOptions { port: 0, ..SchedulerOptions::default() },
    };
    let options = almagest::SessionOptions { threads: Some(all_cores.max(count)), ..options };
    let cluster = LocalCluster::start(&local).await?;
    Ok((almagest::cluster::session(&options, cluster.address())?, Some(cluster)))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Refuses addresses that other machines can reach.
fn check_bind(bind: IpAddr, insecure: bool) -> Result<()> {
    if bind.is_loopback() || insecure {
        return Ok(());
    }
    Err(Error::plan(format!(
        "other machines could connect to {bind}, and whoever does can run anything; bind to \
         127.0.0.1, or add --insecure if only trusted machines are in that network"
    )))
}
