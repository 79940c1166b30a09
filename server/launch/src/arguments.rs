//! The words after `almagest cluster`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::control::Request;
use super::options::Options;
use super::profile;
use super::queue::QueueKind;
use super::settings::Settings;
use almagest_engine::Result;

const EXAMPLES: &str = "\
Examples:
  almagest cluster slurm --workers 8 --cores 16 --memory 64GB --walltime 4:00:00
  almagest cluster sge --workers 4 --cores 8 --dry-run     the script, and nothing else
  almagest cluster slurm --min 0 --max 20 --profile big    as many as there is work for
  almagest cluster status                                  jobs, and why they wait
  almagest cluster scale 12
  almagest cluster stop

Profiles are in /etc/almagest/cluster.toml (the site's; $ALMAGEST_SITE_CONFIG names another file) and
$XDG_CONFIG_HOME/almagest/cluster.toml (yours, which count more): [profiles.big], with the flags' names
as keys. The profile named default counts if no --profile is given.";

/// Run a scheduler here, and executors as jobs of a batch queue.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ClusterArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// The queues, and what can be asked of a cluster that runs.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Executors are jobs of SLURM.
    Slurm(StartArguments),
    /// Executors are jobs of OpenPBS, PBS Pro or Torque.
    Pbs(StartArguments),
    /// Executors are jobs of Grid Engine.
    Sge(StartArguments),
    /// Executors are jobs of IBM Spectrum LSF.
    Lsf(StartArguments),
    /// Executors are jobs of HTCondor.
    Htcondor(StartArguments),
    /// Executors are processes of this machine.
    Local(StartArguments),
    /// Change the number of executors.
    Scale {
        /// How many there should be.
        workers: usize,
        /// Of which cluster.
        #[command(flatten)]
        which: Which,
    },
    /// Tell what became of the jobs.
    Status(Which),
    /// Cancel all jobs and end the scheduler; cancel what a killed one left over.
    Stop(Which),
    /// Name the clusters.
    List,
    /// Write a new key for --cluster-key, the same for scheduler, executors and clients.
    Key {
        /// The file to write, which only you can read.
        file: PathBuf,
    },
}

/// Flags of a start.
#[derive(Clone, Debug, Args)]
pub struct StartArguments {
    /// What the cluster is made of.
    #[command(flatten)]
    pub options: Options,
    /// Options from a file.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Print the job script and how it would be submitted, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// One of several clusters.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// What the cluster is called.
    #[arg(long, value_name = "NAME", default_value = super::settings::NAME)]
    pub name: String,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Action {
    /// To keep a cluster in this process, or to print its script.
    Start {
        /// The cluster.
        settings: Box<Settings>,
        /// Whether to print only.
        dry_run: bool,
    },
    /// To ask something of the cluster of this name.
    Ask(String, Request),
    /// To name the clusters.
    List,
    /// To write a key.
    MakeKey(PathBuf),
}

impl ClusterArguments {
    /// What is asked for, with the profile's values where flags are absent.
    ///
    /// # Errors
    /// `Plan` or `NotFound` if flags or profiles are wrong.
    pub fn action(self) -> Result<Action> {
        let (kind, start) = match self.command {
            ClusterCommand::Slurm(start) => (QueueKind::Slurm, start),
            ClusterCommand::Pbs(start) => (QueueKind::Pbs, start),
            ClusterCommand::Sge(start) => (QueueKind::Sge, start),
            ClusterCommand::Lsf(start) => (QueueKind::Lsf, start),
            ClusterCommand::Htcondor(start) => (QueueKind::Htcondor, start),
            ClusterCommand::Local(start) => (QueueKind::Local, start),
            ClusterCommand::Scale { workers, which } => {
                return Ok(Action::Ask(which.name, Request::Scale(workers)));
            }
            ClusterCommand::Status(which) => return Ok(Action::Ask(which.name, Request::Status)),
            ClusterCommand::Stop(which) => return Ok(Action::Ask(which.name, Request::Stop)),
            ClusterCommand::List => return Ok(Action::List),
            ClusterCommand::Key { file } => return Ok(Action::MakeKey(file)),
        };
        let below = profile::options(start.profile.as_deref(), &profile::files())?;
        let settings = Box::new(Settings::new(kind, start.options.over(below))?);
        Ok(Action::Start { settings, dry_run: start.dry_run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        cluster: ClusterArguments,
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Words::command().debug_assert();
    }

    #[test]
    fn words_become_actions() {
        let action = |line: &str| {
            let words = std::iter::once("cluster").chain(line.split(' '));
            Words::try_parse_from(words).map(|words| words.cluster.command)
        };
        assert!(matches!(action("stop --name a"), Ok(ClusterCommand::Stop(w)) if w.name == "a"));
        assert!(matches!(action("scale 3"), Ok(ClusterCommand::Scale { workers: 3, .. })));
        let Ok(ClusterCommand::Slurm(start)) = action("slurm --extra --gres=x --min 1 --max 2")
        else {
            panic!("not parsed")
        };
        assert_eq!(start.options.extra, ["--gres=x"]);
        for wrong in ["slurm --memory x", "slurm --walltime 4:00", "oar", "scale"] {
            assert!(action(wrong).is_err(), "{wrong}");
        }
    }
}
