//! What a cluster is made of, complete and checked.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::adaptive::Limits;
use super::amounts::Walltime;
use super::control::WORKERS_MAX;
use super::options::Options;
use super::queue::{ExecutorCommand, Plan, QueueKind};
use almagest_engine::{Error, Result};

/// The name of a cluster that is given none.
pub const NAME: &str = "main";
const PARALLEL_ENVIRONMENT: &str = "smp";

/// A cluster, before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The queue of its jobs.
    pub kind: QueueKind,
    /// What it is called.
    pub name: String,
    /// How many workers it starts with.
    pub workers: usize,
    /// The bounds of their number, if it follows the work.
    pub limits: Option<Limits>,
    /// The cores of a worker.
    pub cores: usize,
    /// The port of the scheduler; 0 for any.
    pub port: u16,
    /// The network interface of the scheduler and the executors.
    pub interface: Option<String>,
    /// Whether they may listen without a key where other machines can connect.
    pub insecure: bool,
    /// The key that is given.
    pub cluster_key: Option<PathBuf>,
    options: Options,
}

impl Settings {
    /// Checks options, and fills in what is absent.
    ///
    /// # Errors
    /// `Plan` if they contradict each other.
    pub fn new(kind: QueueKind, options: Options) -> Result<Self> {
        let limits = limits(&options)?;
        let workers = options.workers.unwrap_or(1);
        let workers = limits.map_or(workers, |limits| workers.max(limits.min).min(limits.max));
        if workers > WORKERS_MAX || limits.is_some_and(|limits| limits.max > WORKERS_MAX) {
            return Err(Error::plan(format!("at most {WORKERS_MAX} workers make a cluster")));
        }
        if options.prologue.iter().any(|line| line.contains('\0')) {
            return Err(Error::plan("a line of --prologue holds a zero byte"));
        }
        let cores = match options.cores {
            Some(0) => return Err(Error::plan("a worker has at least one core; see --cores")),
            Some(cores) => cores,
            None if kind == QueueKind::Local => {
                let here = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
                (here / workers.max(1)).max(1)
            }
            None => 1,
        };
        Ok(Self {
            kind,
            name: options.name.clone().unwrap_or_else(|| NAME.into()),
            workers,
            limits,
            cores,
            port: options.port.unwrap_or_default(),
            interface: options.interface.clone(),
            insecure: options.insecure,
            cluster_key: options.cluster_key.clone(),
            options,
        })
    }

    /// The plan of each job, whose log goes to the folder `logs`.
    pub fn plan(&self, command: ExecutorCommand, logs: PathBuf) -> Plan {
        let options = self.options.clone();
        Plan {
            cluster: self.name.clone(),
            command,
            cores: self.cores,
            memory: options.memory,
            walltime: options.walltime.unwrap_or(Walltime(0)),
            queue: options.queue,
            account: options.account,
            extra: options.extra,
            prologue: options.prologue,
            interface: options.interface,
            scratch: options.scratch,
            parallel_environment: options.pe.unwrap_or_else(|| PARALLEL_ENVIRONMENT.into()),
            memory_resource: options.memory_resource,
            torque: options.torque,
            insecure: options.insecure,
            logs,
        }
    }
}

fn limits(options: &Options) -> Result<Option<Limits>> {
    let (min, max) = (options.min.unwrap_or(0), options.max);
    match max {
        Some(max) if max < min.max(1) => Err(Error::plan(format!(
            "--max {max} is below {}; at most is no less than at least",
            min.max(1)
        ))),
        Some(max) => Ok(Some(Limits { min, max })),
        None if options.min.is_some() => Err(Error::plan("--min needs --max")),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_contradict_are_errors() {
        let open = Options::default();
        let fails = |options: Options| Settings::new(QueueKind::Slurm, options).unwrap_err();
        assert!(fails(Options { min: Some(1), ..open.clone() }).message().contains("--max"));
        let crossed = Options { min: Some(3), max: Some(2), ..open.clone() };
        assert!(fails(crossed).message().contains("below 3"));
        assert!(fails(Options { cores: Some(0), ..open.clone() }).message().contains("--cores"));
        let many = Options { workers: Some(1_000_000), ..open.clone() };
        assert!(fails(many).message().contains("at most"));
        let adaptive = Options { min: Some(2), max: Some(4), workers: Some(9), ..open };
        assert_eq!(Settings::new(QueueKind::Slurm, adaptive).unwrap().workers, 4);
        assert!(Settings::new(QueueKind::Local, Options::default()).is_ok());
    }
}
