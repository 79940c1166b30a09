//! What `almagest scheduler` and `almagest executor` take.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use almagest::cluster::{Address, HEARTBEAT_SECONDS};
use clap::Args;

use super::parse_bytes;

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
    /// Queries that run at once; others wait.
    #[arg(long, value_name = "N", default_value = "16")]
    pub max_queries: NonZeroUsize,
    /// Queries that wait; more are refused.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max_queued: usize,
    /// Queries of one session that run at once [default: as --max-queries].
    #[arg(long, value_name = "N")]
    pub max_per_session: Option<NonZeroUsize>,
    /// Seconds that a query may run [default: no limit].
    #[arg(long, value_name = "SECONDS")]
    pub time_limit: Option<u64>,
    /// What executors and clients must hold: a file that almagest cluster key made.
    #[arg(long, value_name = "FILE")]
    pub cluster_key: Option<PathBuf>,
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
    /// What it is called, unlike all others of the scheduler [default: a random name].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Tasks to run at once [default: one for each core].
    #[arg(long, value_name = "N")]
    pub cores: Option<NonZeroUsize>,
    /// The directory for data that is spilled and shuffled [default: the system's for temporary
    /// files].
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// Disk that tasks may use there, such as 100GB [default: all].
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub disk_limit: Option<usize>,
    /// Seconds between two signs of life.
    #[arg(long, value_name = "SECONDS", default_value_t = HEARTBEAT_SECONDS)]
    pub heartbeat: u64,
    /// Seconds to wait for the scheduler, at the beginning and whenever it is gone.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub connect_timeout: u16,
    /// Seconds after which the executor ends: it takes no new tasks and finishes those that run.
    #[arg(long, value_name = "SECONDS")]
    pub drain_after: Option<u64>,
    /// What executors and clients must hold: a file that almagest cluster key made.
    #[arg(long, value_name = "FILE")]
    pub cluster_key: Option<PathBuf>,
    /// Listen where other machines can connect, though nobody is asked who they are.
    #[arg(long)]
    pub insecure: bool,
    /// End when standard input does.
    #[arg(long, hide = true)]
    pub until_input_ends: bool,
}
