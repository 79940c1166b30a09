//! What every batch queue can do: a script, submit, list, cancel. One file a queue implements it.
//!
//! A queue must give each job an id that its script can see too: an executor is called by it, and
//! so a job and its executor find each other. It may answer late. It knows nothing of how many jobs
//! there should be (`keeper.rs`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::amounts::{Bytes, Walltime};
use super::commands::{Commands, Line};
use super::{htcondor, local, lsf, pbs, sge, slurm};
use almagest_engine::{Error, Result};

/// What an executor is started with.
#[derive(Clone, Debug)]
pub struct ExecutorCommand {
    /// The command `almagest`, at a path that all machines of the cluster see.
    pub program: PathBuf,
    /// Where the scheduler listens, as other machines see it.
    pub scheduler_url: String,
    /// More words for `almagest executor`.
    pub extra: Vec<String>,
}

/// What one job asks for, and what it runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name of the cluster.
    pub cluster: String,
    /// What it runs.
    pub command: ExecutorCommand,
    /// Cores of one job.
    pub cores: usize,
    /// Memory of one job.
    pub memory: Option<Bytes>,
    /// How long one job may run.
    pub walltime: Walltime,
    /// The queue or partition.
    pub queue: Option<String>,
    /// The account or project that pays.
    pub account: Option<String>,
    /// Further directives.
    pub extra: Vec<String>,
    /// Lines of shell that run first.
    pub prologue: Vec<String>,
    /// The network interface at which executors listen.
    pub interface: Option<String>,
    /// The folder for spilled and shuffled data.
    pub scratch: Option<PathBuf>,
    /// Grid Engine: the parallel environment of jobs with several cores.
    pub parallel_environment: String,
    /// Grid Engine: the resource that stands for memory.
    pub memory_resource: Option<String>,
    /// PBS: Torque's way to ask for cores.
    pub torque: bool,
    /// Whether executors may listen where other machines can connect.
    pub insecure: bool,
    /// The folder of log files, one for each job.
    pub logs: PathBuf,
}

/// One file that a submission needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFile {
    /// Its name within the cluster's folder.
    pub name: &'static str,
    /// Its content.
    pub text: String,
}

/// Whether a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits for its turn, or is held.
    Queued,
    /// It runs.
    Running,
    /// It is about to be gone.
    Ending,
    /// It is gone.
    Ended,
}

/// What the queue says about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The id that [`Queue::submit`] gave.
    pub id: String,
    /// Whether it runs.
    pub state: JobState,
    /// The queue's own word for its state.
    pub word: String,
    /// Why it waits, in the queue's own words.
    pub reason: Option<String>,
    /// The machine it runs on.
    pub node: Option<String>,
}

/// A batch queue.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Which one it is.
    fn kind(&self) -> QueueKind;

    /// The files of a job; the last one is the one to submit.
    ///
    /// # Errors
    /// `Plan` if this queue cannot do what is asked for.
    fn files(&self, plan: &Plan) -> Result<Vec<JobFile>>;

    /// The command that submits one job of the files in `folder`.
    fn submit_line(&self, folder: &Path) -> Line;

    /// Submits one job of the files in `folder`; gives back its id.
    ///
    /// # Errors
    /// `NotFound` or `Unreachable` if the command is missing or refuses.
    async fn submit(&self, folder: &Path) -> Result<String>;

    /// What the queue knows of these jobs. Those that it has forgotten are left out.
    ///
    /// # Errors
    /// As [`Self::submit`].
    async fn list(&self, ids: &[String]) -> Result<Vec<Job>>;

    /// Cancels these jobs. Those that are gone are no failure.
    ///
    /// # Errors
    /// As [`Self::submit`].
    async fn cancel(&self, ids: &[String]) -> Result<()>;
}

/// Makes a queue that uses these commands.
type Open = fn(Commands) -> Arc<dyn Queue>;

/// The queues that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// SLURM.
    Slurm,
    /// OpenPBS, PBS Pro and Torque.
    Pbs,
    /// Grid Engine.
    Sge,
    /// IBM Spectrum LSF.
    Lsf,
    /// HTCondor.
    Htcondor,
    /// Processes of this machine.
    Local,
}

impl QueueKind {
    /// Every queue: its name, and how to use its commands.
    const ALL: [(Self, &'static str, Open); 6] = [
        (Self::Slurm, "slurm", |commands| Arc::new(slurm::Slurm(commands))),
        (Self::Pbs, "pbs", |commands| Arc::new(pbs::Pbs(commands))),
        (Self::Sge, "sge", |commands| Arc::new(sge::Sge(commands))),
        (Self::Lsf, "lsf", |commands| Arc::new(lsf::Lsf(commands))),
        (Self::Htcondor, "htcondor", |commands| Arc::new(htcondor::Htcondor(commands))),
        (Self::Local, "local", |commands| Arc::new(local::Local(commands))),
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(kind, ..)| *kind == self);
        found.map_or("unknown", |(_, name, _)| name)
    }

    /// The queue of a name.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(_, known, _)| *known == name);
        let names: Vec<&str> = Self::ALL.iter().map(|(_, name, _)| *name).collect();
        found.map(|(kind, ..)| *kind).ok_or_else(|| {
            Error::not_found(format!("no queue '{name}'; there are {}", names.join(", ")))
        })
    }

    /// The queue itself.
    ///
    /// # Errors
    /// `Bug` if it stands in no list.
    pub fn open(self, commands: Commands) -> Result<Arc<dyn Queue>> {
        let found = Self::ALL.iter().find(|(kind, ..)| *kind == self);
        let (.., open) = found.ok_or_else(|| Error::bug(format!("{self:?} is in no list")))?;
        Ok(open(commands))
    }

    /// What the executor of a job is called, in the job's script too.
    pub fn executor_name(self, id: &str) -> String {
        format!("{}-{}", self.name(), job_number(id))
    }
}

/// A job's id without the part behind the dot: the server's name (PBS), the process within the
/// job (HTCondor), the start time (local).
pub fn job_number(id: &str) -> &str {
    id.split_once('.').map_or(id, |(number, _)| number)
}

/// The id in the answer to a submission: the first word of its last line, if it begins with a digit.
pub fn id_in(output: &str) -> Option<String> {
    let line = output.lines().rev().find(|line| !line.trim().is_empty())?;
    let word = line.split([' ', ';', '\t']).find(|word| !word.is_empty())?;
    word.starts_with(|c: char| c.is_ascii_digit()).then(|| word.trim().to_string())
}

/// The error of a submission whose answer holds no id.
pub fn no_id(line: &Line, output: &str) -> Error {
    Error::unreachable(format!(
        "`{line}` answered '{}', which holds no job id; see whether a job was submitted, and cancel it",
        output.trim()
    ))
}

/// What to do about a submission that the queue refuses.
pub const SUBMIT_ADVICE: &str =
    "see the script with --dry-run, and change --queue, --account, --walltime or --extra";

/// What to do about a queue that does not list its jobs.
pub const LIST_ADVICE: &str = "ask whether the queue is up";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_and_its_executor_share_a_name() {
        assert_eq!(QueueKind::Pbs.executor_name("123.server.example"), "pbs-123");
        assert_eq!(QueueKind::Slurm.executor_name("7"), "slurm-7");
    }

    #[test]
    fn every_queue_is_found_by_its_name() {
        for (kind, name, _) in QueueKind::ALL {
            assert_eq!(QueueKind::named(name).unwrap(), kind);
            assert_eq!(kind.open(Commands::default()).unwrap().kind(), kind);
        }
        assert!(QueueKind::named("oar").unwrap_err().message().contains("slurm, pbs"));
    }

    #[test]
    fn ids_are_found_in_odd_answers() {
        assert_eq!(id_in("12\n").as_deref(), Some("12"));
        assert_eq!(id_in("12;cluster\n").as_deref(), Some("12"));
        assert_eq!(id_in("welcome!\n123.server\n\n").as_deref(), Some("123.server"));
        assert_eq!(id_in("7.0 - 7.0\n").as_deref(), Some("7.0"));
        for none in ["", "\n \n", "error: no", ";"] {
            assert_eq!(id_in(none), None, "{none}");
        }
    }
}
