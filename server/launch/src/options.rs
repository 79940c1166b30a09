//! The flags of `almagest cluster QUEUE`, which are the keys of a profile too.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::amounts::{Bytes, Walltime};

/// What a cluster is made of. Absent values come from the profile, and then from the defaults.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Options {
    /// How many executors, each of them one job [default: 1].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// The cores of each [default: 1; local: this machine's].
    #[arg(long, value_name = "N")]
    pub cores: Option<usize>,
    /// The memory of each: 32GB. Queries may hold eight tenths of it before they spill.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Bytes>,
    /// How long each may run: 4:00:00, 90m, 2d. Executors take no tasks in the last minutes.
    #[arg(long, value_name = "TIME")]
    pub walltime: Option<Walltime>,
    /// The queue, or partition, of the jobs [default: the site's].
    #[arg(long, value_name = "QUEUE")]
    pub queue: Option<String>,
    /// The account, or project, that pays [default: the site's].
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
    /// A further directive, as the queue has it: '--constraint=icelake'; may be given several times.
    #[arg(long, value_name = "LINE", allow_hyphen_values = true)]
    pub extra: Vec<String>,
    /// A line of shell that each job runs first: 'module load almagest'; may be given several times.
    #[arg(long, value_name = "LINE")]
    pub prologue: Vec<String>,
    /// The network interface by which processes reach each other: ib0 [default: the one that leads
    /// to the scheduler].
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// The folder of each machine for data that is spilled and shuffled [default: $TMPDIR].
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// The fewest executors, if their number follows the work.
    #[arg(long, value_name = "N")]
    pub min: Option<usize>,
    /// The most executors, if their number follows the work.
    #[arg(long, value_name = "N")]
    pub max: Option<usize>,
    /// What the cluster is called, to tell several apart [default: main].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The port of the scheduler; 0 for any that is free [default: 0].
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// The key of the cluster, made by almagest cluster key [default: one of its own, in its folder].
    #[arg(long, value_name = "FILE")]
    pub cluster_key: Option<PathBuf>,
    /// Listen where other machines can connect without a key: whoever can connect is served.
    #[arg(long, conflicts_with = "cluster_key")]
    pub insecure: bool,
    /// Grid Engine: the parallel environment of jobs with several cores [default: smp].
    #[arg(long, value_name = "NAME")]
    pub pe: Option<String>,
    /// Grid Engine: the resource that stands for memory, as h_vmem [default: none is asked for].
    #[arg(long, value_name = "NAME")]
    pub memory_resource: Option<String>,
    /// PBS: ask for cores as Torque does, by nodes and ppn.
    #[arg(long)]
    pub torque: bool,
}

impl Options {
    /// These options, and where they are absent those of `below`.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        let lines = |own: Vec<String>, below| if own.is_empty() { below } else { own };
        Self {
            workers: self.workers.or(below.workers),
            cores: self.cores.or(below.cores),
            memory: self.memory.or(below.memory),
            walltime: self.walltime.or(below.walltime),
            queue: self.queue.or(below.queue),
            account: self.account.or(below.account),
            extra: lines(self.extra, below.extra),
            prologue: lines(self.prologue, below.prologue),
            interface: self.interface.or(below.interface),
            scratch: self.scratch.or(below.scratch),
            min: self.min.or(below.min),
            max: self.max.or(below.max),
            name: self.name.or(below.name),
            port: self.port.or(below.port),
            cluster_key: self.cluster_key.or(below.cluster_key),
            insecure: self.insecure || below.insecure,
            pe: self.pe.or(below.pe),
            memory_resource: self.memory_resource.or(below.memory_resource),
            torque: self.torque || below.torque,
        }
    }

    /// The names of all flags.
    pub fn names() -> Vec<String> {
        let command = Self::augment_args(clap::Command::new("cluster"));
        let long = command.get_arguments().filter_map(|argument| argument.get_long());
        long.map(str::to_string).collect()
    }
}
