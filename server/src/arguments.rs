//! The command line: flags, sub-commands, and what they mean together.
//!
//! In: the words after `almagest`. Out: [`Arguments`], or an exit with status 2 and a hint. Those who run
//! something take their arguments from here. Not here: running anything; the arguments of `almagest cluster`,
//! which are `almagest_launch`'s.

#[cfg(feature = "flight")]
mod connect;
mod demo;
#[cfg(feature = "flight")]
mod options_file;
#[cfg(feature = "cluster")]
mod roles;
#[cfg(feature = "flight")]
mod serve;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[cfg(feature = "cluster")]
use almagest::cluster::{ClusterKey, Place};
#[cfg(feature = "cluster")]
use almagest::{AlmagestOptions, Error};
use almagest::{Result, SessionOptions};
#[cfg(feature = "cluster")]
use almagest_launch::ClusterArguments;
use clap::error::{ContextKind, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

#[cfg(feature = "flight")]
pub use connect::ConnectArguments;
pub use demo::DemoArguments;
#[cfg(feature = "cluster")]
pub use roles::{ExecutorArguments, SchedulerArguments};
#[cfg(feature = "flight")]
pub use serve::ServeArguments;

use crate::output::Format;

const EXAMPLES: &str = "\
Examples:
  almagest                                                 an interactive shell
  almagest -c \"SELECT avg(value) FROM 'image.h5'\"          one statement
  almagest -f report.sql --format csv > report.csv         a file of statements
  echo \"SELECT 1\" | almagest                               statements on a pipe
  almagest -c \"SELECT * FROM 'toi/'\" --output toi.parquet  an answer as a Parquet file
  almagest --memory-limit 4GB --spill-dir /scratch         limits for the shell
  almagest --connect grpc+tls://host:32010 --user hypatia  the shell of a server

Answers go to standard output; timing, progress and messages go to standard error.
Every row is printed, unless the shell is interactive: there \\rows sets how many.
Exit status: 0, 1 after a failed statement (nothing after it runs), 2 wrong usage, 130 interrupted.";

/// SQL over catalogs (Parquet, CSV, JSON, Arrow) and chunked arrays (HDF5).
#[derive(Debug, Parser)]
#[command(name = "almagest", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do other than run SQL.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where statements come from and where answers go.
    #[command(flatten)]
    pub run: RunArguments,
    /// The server that runs them, if one does.
    #[cfg(feature = "flight")]
    #[command(flatten)]
    pub connect: ConnectArguments,
    /// What a session may use.
    #[command(flatten)]
    pub session: SessionArguments,
    /// What goes to standard error.
    #[command(flatten)]
    pub messages: MessageArguments,
}

/// Sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(DemoArguments),
    #[cfg(feature = "cluster")]
    Scheduler(SchedulerArguments),
    #[cfg(feature = "cluster")]
    Executor(ExecutorArguments),
    #[cfg(feature = "cluster")]
    Cluster(Box<ClusterArguments>),
    #[cfg(feature = "flight")]
    Serve(Box<ServeArguments>),
}

/// Where statements come from and where answers go.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Run these statements and end; may be given several times.
    #[arg(
        short = 'c',
        long = "command",
        value_name = "SQL",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    pub sql: Vec<String>,
    /// Run the statements in this file and end; `-` is standard input.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// How answers are written [default: by the extension of --output, else table].
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Run what follows a failed statement too; the exit status is 1 all the same.
    #[arg(long)]
    pub keep_going: bool,
    /// Write answers to this file: .csv .tsv .json .ndjson .md .txt .parquet .arrow.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Where queries run.
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub place: PlaceArguments,
    /// Do not run init.sql of the configuration directory when the shell starts.
    #[arg(long)]
    pub no_init: bool,
}

/// Where queries run.
#[cfg(feature = "cluster")]
#[derive(Clone, Debug, Args)]
pub struct PlaceArguments {
    /// Run queries on the executors of a scheduler, or on N processes of this machine.
    #[arg(long, value_name = "URL|local:N")]
    pub cluster: Option<Place>,
    /// The file of the key of that cluster, if it has one.
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub cluster_key: Option<PathBuf>,
}

#[cfg(feature = "cluster")]
impl PlaceArguments {
    /// The settings that say the same; `None` for this process.
    ///
    /// # Errors
    /// Those of reading the key; `Plan` if there is none to a place.
    pub fn settings(&self) -> Result<Option<AlmagestOptions>> {
        let Some(place) = &self.cluster else { return Ok(None) };
        let mut settings = place.settings();
        if let Some(path) = &self.cluster_key {
            if let Place::Local(_) = place {
                return Err(Error::plan(
                    "processes of this machine have no key; --cluster-key goes with --cluster \
                     http://HOST:PORT",
                ));
            }
            // so that a wrong file is told before the first query
            ClusterKey::read(path)?;
            let path = std::path::absolute(path);
            let path = path.map_err(|cause| Error::plan(format!("no such path: {cause}")))?;
            settings.cluster_key = path.display().to_string();
        }
        Ok(Some(settings))
    }
}

/// What a session may use.
#[derive(Clone, Debug, Args)]
pub struct SessionArguments {
    /// Memory that queries may hold before they spill to disk: 512MB, 4GB, 1.5GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, global = true)]
    pub memory_limit: Option<usize>,
    /// Threads for computing [default: one for each core].
    #[arg(long, value_name = "N", value_parser = parse_threads, global = true)]
    pub threads: Option<NonZeroUsize>,
    /// Directory to spill to [default: the system's for temporary files].
    #[arg(long, value_name = "DIR", global = true)]
    pub spill_dir: Option<PathBuf>,
    /// Size of what queries may spill to disk [default: 100GB].
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, global = true)]
    pub spill_limit: Option<usize>,
}

impl SessionArguments {
    /// The same, as the engine wants it.
    pub fn options(&self) -> SessionOptions {
        SessionOptions {
            threads: self.threads.map(NonZeroUsize::get),
            memory_bytes_max: self.memory_limit,
            spill_dir: self.spill_dir.clone(),
            spill_bytes_max: self.spill_limit.map(|bytes| bytes as u64),
            ..SessionOptions::default()
        }
    }
}

/// What goes to standard error.
#[derive(Clone, Copy, Debug, Args)]
pub struct MessageArguments {
    /// Only errors on standard error: no timing, no notes, no progress.
    #[arg(short = 'q', long, global = true)]
    pub quiet: bool,
    /// Show a progress bar; auto: if standard error is a terminal.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto, global = true)]
    pub progress: When,
}

/// When to do something that suits a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// If there is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Arguments {
    /// The arguments, or an end of the process with help, version or a hint.
    ///
    /// # Errors
    /// What is wrong with a file of options.
    pub fn from_command_line() -> Result<Self> {
        let words: Vec<OsString> = std::env::args_os().collect();
        #[cfg(feature = "flight")]
        let words = options_file::with_config(words)?;
        match Self::try_parse_from(&words).and_then(Self::checked) {
            Ok(arguments) => Ok(arguments),
            Err(error) => with_hint(error).exit(),
        }
    }

    /// The format of answers: as told, else by the output's extension, else a table.
    pub fn format(&self) -> Format {
        let by_extension = self.run.output.as_deref().and_then(Format::by_extension);
        self.run.format.or(by_extension).unwrap_or(Format::Table)
    }

    fn checked(self) -> Result<Self, clap::Error> {
        let wrong =
            |message: String| Err(Self::command().error(ErrorKind::ValueValidation, message));
        if let (Some(path), None) = (&self.run.output, self.run.format)
            && Format::by_extension(path).is_none()
        {
            return wrong(format!(
                "the extension of '{}' names no format; name one with --format ({})",
                path.display(),
                Format::names()
            ));
        }
        if self.run.output.is_none() && self.format().is_binary() {
            use std::io::IsTerminal;
            if std::io::stdout().is_terminal() {
                return wrong(format!(
                    "--format {} writes bytes that a terminal cannot show; add --output FILE",
                    self.format().name()
                ));
            }
        }
        Ok(self)
    }
}

/// Adds what a bare word was perhaps meant to be.
fn with_hint(error: clap::Error) -> clap::Error {
    let bare = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
    let word = error.context().find_map(|(kind, value)| {
        let named = matches!(kind, ContextKind::InvalidArg | ContextKind::InvalidSubcommand);
        named.then(|| value.to_string())
    });
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let Some(word) = word.filter(|word| bare && !word.starts_with('-')) else { return error };
    let hint = if word.contains(char::is_whitespace) {
        format!("a statement follows -c: almagest -c \"{word}\"")
    } else if word.ends_with(".sql") {
        format!("a file of statements follows -f: almagest -f {word}")
    } else if usage.contains("almagest serve") && std::path::Path::new(&word).is_dir() {
        format!("folders that are served follow --data: almagest serve --data {word}")
    } else if std::path::Path::new(&word).exists() {
        format!("a file stands in a statement: almagest -c \"SELECT * FROM '{word}' LIMIT 10\"")
    } else {
        return error;
    };
    let message = format!("'{word}' is no option\n\n  tip: {hint}");
    Arguments::command().error(ErrorKind::UnknownArgument, message)
}

/// The most threads that may be asked for: more than any machine has cores.
const THREADS_MAX: usize = 4096;

/// A number of threads.
pub fn parse_threads(text: &str) -> Result<NonZeroUsize, String> {
    let threads = text.parse().ok().filter(|threads: &NonZeroUsize| threads.get() <= THREADS_MAX);
    threads.ok_or_else(|| format!("a number of threads is 1 to {THREADS_MAX}"))
}

/// Bytes that a limit can be set to, such as `4GB`.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let bytes = almagest_launch::bytes(text)?;
    if bytes < 1.0 {
        return Err("nothing works with none; try 512MB".into());
    }
    if bytes >= usize::MAX as f64 {
        return Err("more than this machine can address; try 4GB".into());
    }
    Ok(bytes as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("512"), Ok(512));
        assert_eq!(parse_bytes("4GB"), Ok(4_000_000_000));
        assert_eq!(parse_bytes("4gb"), Ok(4_000_000_000));
        assert_eq!(parse_bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse_bytes("64K"), Ok(65_536));
        assert_eq!(parse_bytes(" 2 MiB "), Ok(2 << 20));
        for wrong in
            ["4 parsecs", "", "GB", "0", "0GB", "-1GB", "1.2.3GB", "1e30TB", "99999999999TB"]
        {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_format_follows_option_then_extension() {
        let format = |words: &[&str]| {
            let words = std::iter::once(&"almagest").chain(words);
            Arguments::try_parse_from(words).and_then(Arguments::checked).map(|a| a.format())
        };
        assert_eq!(format(&[]).ok(), Some(Format::Table));
        assert_eq!(format(&["-o", "a.csv"]).ok(), Some(Format::Csv));
        assert_eq!(format(&["-o", "a.JSONL"]).ok(), Some(Format::Ndjson));
        assert_eq!(format(&["-o", "a.csv", "--format", "parquet"]).ok(), Some(Format::Parquet));
        assert_eq!(format(&["-o", "a.dat", "--format", "tsv"]).ok(), Some(Format::Tsv));
        assert!(format(&["-o", "a.dat"]).is_err());
        assert!(format(&["-c", "SELECT 1", "-f", "a.sql"]).is_err());
    }
}
