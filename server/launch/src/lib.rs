//! Executors as jobs of a batch queue: `almagest cluster slurm --workers 8`.
//!
//! In: flags and profiles ([`ClusterArguments`] → [`Action`]), a scheduler of this process
//! ([`Members`], [`ExecutorCommand`]). Out: jobs, each of which runs one executor; their number is
//! kept until the process is told to end, and then all are cancelled ([`run`]). Other commands talk
//! to that process by a socket ([`request`]).
//!
//! The way of a command: `arguments` and `options` (flags, which are also the keys of `profile`) →
//! `settings` (checked) → `foreground` (start to end) → `keeper` (submit, replace, cancel), which
//! uses `jobs` (what was seen of
//! them), `adaptive` (how many), `choice` (which go), `pacing` (how fast) and a `Queue` (`slurm`,
//! `pbs`, `sge`, `lsf`, `htcondor`, `local`: one file each, one line in `queue`). `script` is the
//! shell of a job, `commands` runs a queue's commands, `state` is a cluster's folder, `control` its
//! socket, `remote` the commands that ask, `status` their table.
//!
//! Not here: the scheduler and the executor themselves; this crate knows nothing of queries.

mod adaptive;
mod amounts;
mod arguments;
mod choice;
mod commands;
mod control;
mod foreground;
mod htcondor;
mod interface;
mod jobs;
mod keeper;
mod local;
mod lsf;
mod members;
mod options;
mod pacing;
mod pbs;
mod processes;
mod profile;
mod queue;
mod remote;
mod script;
mod settings;
mod sge;
mod slurm;
#[cfg(test)]
mod standins;
mod state;
mod status;

pub use amounts::bytes;
pub use arguments::{Action, ClusterArguments};
pub use foreground::{Place, dry_run, run};
pub use interface::address;
pub use members::{Member, Members};
pub use queue::{ExecutorCommand, QueueKind};
pub use remote::{list, request};
pub use settings::Settings;
pub use state::Folder;
