//! Runs the commands of a queue: with a time limit, and errors that say what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::script::quote;
use almagest_engine::{Error, Result};

/// How long a command of a queue may take.
const LONGEST: Duration = Duration::from_secs(60);

/// Where the commands of a queue are.
#[derive(Clone, Debug)]
pub struct Commands {
    /// The folder that holds them; those of the PATH if absent.
    pub folder: Option<PathBuf>,
    /// How long one may take.
    pub longest: Duration,
}

/// One command: its words, and the file that it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    program: &'static str,
    arguments: Vec<String>,
    input: Option<PathBuf>,
}

/// What a command said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whether its exit status was 0.
    pub success: bool,
    /// How it ended: `exit status: 1`, `signal: 9 (SIGKILL)`.
    pub ended: String,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub messages: String,
}

impl Default for Commands {
    fn default() -> Self {
        Self { folder: None, longest: LONGEST }
    }
}

impl Line {
    /// A program and its arguments.
    pub fn new<T: Into<String>>(
        program: &'static str,
        arguments: impl IntoIterator<Item = T>,
    ) -> Self {
        Self { program, arguments: arguments.into_iter().map(T::into).collect(), input: None }
    }

    /// The same, reading a file.
    #[must_use]
    pub fn reading(mut self, input: impl Into<PathBuf>) -> Self {
        self.input = Some(input.into());
        self
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program)?;
        for argument in &self.arguments {
            write!(f, " {}", quote(argument))?;
        }
        match &self.input {
            Some(input) => write!(f, " < {}", quote(&input.display().to_string())),
            None => Ok(()),
        }
    }
}

impl Commands {
    /// Runs a command to its end, whatever its exit status.
    ///
    /// # Errors
    /// `NotFound` if there is no such command, `Unreachable` if it takes too long.
    pub async fn run(&self, line: &Line) -> Result<Answer> {
        let program = match &self.folder {
            Some(folder) => folder.join(line.program),
            None => PathBuf::from(line.program),
        };
        let mut command = Command::new(&program);
        command.args(&line.arguments).stdin(input(line.input.as_deref())?).kill_on_drop(true);
        // Ctrl-C in the terminal must not end a submission halfway, or the cancelling that follows
        command.process_group(0);
        match tokio::time::timeout(self.longest, command.output()).await {
            Ok(Ok(done)) => Ok(Answer {
                success: done.status.success(),
                ended: done.status.to_string(),
                output: String::from_utf8_lossy(&done.stdout).into_owned(),
                messages: String::from_utf8_lossy(&done.stderr).into_owned(),
            }),
            Ok(Err(cause)) => Err(Error::not_found(format!(
                "cannot run {}: {cause}; run this on a machine where the queue's commands are on \
                 the PATH, as the cluster's login nodes (often after `module load`)",
                program.display()
            ))),
            Err(_) => Err(Error::unreachable(format!(
                "`{line}` did not answer within {} s; ask whether the queue is up",
                self.longest.as_secs()
            ))),
        }
    }

    /// Runs a command that must succeed; gives back its standard output.
    ///
    /// # Errors
    /// As [`Self::run`]; `Unreachable` with the command's own words and `advice` if it fails.
    pub async fn output(&self, line: &Line, advice: &str) -> Result<String> {
        let answer = self.run(line).await?;
        match answer.success {
            true => Ok(answer.output),
            false => Err(answer.error(line, advice)),
        }
    }

    /// Runs a command that cancels jobs. A job that is gone already is no failure.
    ///
    /// # Errors
    /// As [`Self::output`], if a line of its answer holds none of `harmless`.
    pub async fn cancel(&self, line: &Line, harmless: &[&str]) -> Result<()> {
        let answer = self.run(line).await?;
        let mut said = answer.output.lines().chain(answer.messages.lines());
        let known = |line: &str| {
            line.trim().is_empty() || harmless.iter().any(|phrase| line.contains(phrase))
        };
        if answer.success || (!answer.said().is_empty() && said.all(known)) {
            return Ok(());
        }
        Err(answer.error(line, "cancel the jobs by hand if they go on"))
    }
}

impl Answer {
    /// What it said, on either stream.
    pub fn said(&self) -> &str {
        match self.messages.trim() {
            "" => self.output.trim(),
            messages => messages,
        }
    }

    /// The error of a command that failed, in its own words.
    pub fn error(&self, line: &Line, advice: &str) -> Error {
        let said: Vec<&str> = self.said().lines().map(str::trim).collect();
        let said = if said.is_empty() { "nothing".into() } else { said.join(" / ") };
        Error::unreachable(format!("`{line}` failed ({}) and said: {said}; {advice}", self.ended))
    }
}

fn input(path: Option<&Path>) -> Result<Stdio> {
    let Some(path) = path else { return Ok(Stdio::null()) };
    let file = std::fs::File::open(path).map_err(|cause| {
        Error::unreachable(format!("cannot read the job script: {cause}"))
            .with("file", path.display())
    })?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use almagest_engine::ErrorKind;

    #[test]
    fn a_line_can_be_pasted_into_a_shell() {
        let line = Line::new("bsub", ["-J", "it's"]).reading("/a b/script.sh");
        assert_eq!(line.to_string(), r"bsub -J 'it'\''s' < '/a b/script.sh'");
    }

    #[tokio::test]
    async fn a_missing_command_says_what_to_do() {
        let line = Line::new("sbatch-that-is-not-there", ["x"]);
        let error = Commands::default().run(&line).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("sbatch-that-is-not-there"), "{error}");
        assert!(error.message().contains("login nodes"), "{error}");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended() {
        let commands = Commands { folder: None, longest: Duration::from_millis(50) };
        let error = commands.run(&Line::new("sleep", ["100"])).await.unwrap_err();
        assert!(error.message().contains("`sleep 100` did not answer"), "{error}");
    }

    #[tokio::test]
    async fn a_signal_to_this_processs_group_spares_commands() {
        let line = Line::new("cat", ["/proc/self/stat"]);
        let stat = Commands::default().output(&line, "").await.unwrap();
        let fields: Vec<&str> = stat.split_whitespace().collect();
        assert_eq!((fields[0], fields[1]), (fields[4], "(cat)"));
    }

    #[tokio::test]
    async fn a_failure_repeats_the_commands_words() {
        let line = Line::new("sh", ["-c", "echo no such partition >&2; exit 3"]);
        let error = Commands::default().output(&line, "see --queue").await.unwrap_err();
        assert!(error.message().ends_with("said: no such partition; see --queue"), "{error}");
        let commands = Commands::default();
        assert!(commands.cancel(&line, &["no such partition"]).await.is_ok());
        assert!(commands.cancel(&line, &["already gone"]).await.is_err());
        assert!(commands.cancel(&Line::new("false", ["x"]), &["gone"]).await.is_err());
    }
}
