//! The folder of a cluster: who keeps it, which jobs it has, its job files and logs.
//!
//! Only its owner can read it (mode 0700, files 0600). It must be where the machines of the queue
//! see it too, as home usually is, since jobs write their logs there. The file `state.json` is
//! replaced in one step, and written after each submission: whatever happens to the keeper or to
//! the machine, the next command knows its jobs.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::processes::{is_alive, start_time};
use super::queue::{JobFile, job_number};
use almagest::{Error, Result};

const NAME_LENGTH_MAX: usize = 40;
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 10;
const LOCK_POLL: Duration = Duration::from_millis(20);
/// A command that is just being started holds what its parent held, for a moment.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// What is kept about a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The queue's name.
    pub queue: String,
    /// Where its scheduler listens.
    pub url: String,
    /// The machine of the process that keeps it.
    pub host: String,
    /// That process.
    pub pid: u32,
    /// When it started, in ticks of its machine.
    pub pid_started: u64,
    /// The ids of its jobs.
    pub jobs: Vec<String>,
}

/// The folder of one cluster.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// Held by the process that keeps a cluster; the system takes it back when that ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "holds the lock")] File);

impl State {
    /// A cluster that this process keeps, without jobs.
    pub fn of_this_process(queue: &str, url: &str) -> Self {
        let pid = std::process::id();
        let pid_started = start_time(pid).unwrap_or_default();
        let (queue, url) = (queue.into(), url.into());
        Self { queue, url, host: host(), pid, pid_started, jobs: vec![] }
    }

    /// Whether the process that keeps it lives. One of another machine counts as alive.
    pub fn is_kept(&self) -> bool {
        self.host != host() || is_alive(self.pid, self.pid_started)
    }

    /// Whether its process is, or was, on another machine.
    pub fn is_elsewhere(&self) -> bool {
        self.host != host()
    }
}

/// The folder of all clusters: `$XDG_STATE_HOME/almagest/clusters`.
///
/// # Errors
/// `NotFound` if there is no home.
pub fn base() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    let state = state.ok_or_else(|| {
        Error::not_found("no place for the state of clusters; set HOME or XDG_STATE_HOME")
    })?;
    Ok(state.join("almagest").join("clusters"))
}

/// The names of the clusters that have a state.
pub fn names(base: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten();
    let kept = entries.filter(|entry| entry.path().join("state.json").is_file());
    let mut names: Vec<String> =
        kept.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

impl Folder {
    /// The folder of a name, which need not be there.
    ///
    /// # Errors
    /// `Plan` if the name is none.
    pub fn of(base: &Path, name: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if !name.is_empty() && name.len() <= NAME_LENGTH_MAX && name.chars().all(fits) {
            return Ok(Self { path: base.join(name) });
        }
        Err(Error::plan(format!(
            "'{name}' cannot name a cluster; use up to {NAME_LENGTH_MAX} letters, digits, _ and -"
        )))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where log files are.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Where the process that keeps it listens.
    pub fn socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// Makes the folder.
    ///
    /// # Errors
    /// `Unreachable` if it cannot be written.
    pub fn create(&self) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(self.logs());
        let owned = std::fs::Permissions::from_mode(0o700);
        made.and_then(|()| std::fs::set_permissions(&self.path, owned))
            .map_err(|cause| self.failed("write", &cause))
    }

    /// Takes the cluster for this process, if it is free or becomes so within `patience`.
    ///
    /// # Errors
    /// `Plan` if another process has it.
    pub async fn lock(&self, patience: Duration) -> Result<Lock> {
        let file = private().truncate(false).open(self.path.join("lock"));
        let file = file.map_err(|cause| self.failed("write", &cause))?;
        let longest = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < longest => {
                    tokio::time::sleep(LOCK_POLL).await;
                }
                Err(TryLockError::WouldBlock) => break,
                // a file system without locks: the state file tells
                Err(TryLockError::Error(cause)) => {
                    log::warn!("no lock in {}: {cause}", self.path.display());
                    return Ok(Lock(file));
                }
            }
        }
        Err(Error::plan(
            "another process keeps a cluster of this name; end it with `almagest cluster stop`, or \
             choose another --name",
        )
        .with("folder", self.path.display()))
    }

    /// Writes the files of a job.
    ///
    /// # Errors
    /// `Unreachable` if one cannot be written.
    pub fn write_files(&self, files: &[JobFile]) -> Result<()> {
        files.iter().try_for_each(|file| self.replace(file.name, &file.text))
    }

    /// What is known of the cluster; none if there is no such cluster.
    ///
    /// # Errors
    /// `DataInvalid` if the file is damaged, `Unreachable` if it cannot be read.
    pub fn state(&self) -> Result<Option<State>> {
        let path = self.path.join("state.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(self.failed("read", &cause)),
        };
        serde_json::from_str(&text).map(Some).map_err(|cause| {
            Error::data_invalid(format!(
                "the state of the cluster is damaged ({cause}); cancel its jobs by the queue's \
                 own command, and delete the file"
            ))
            .with("file", path.display())
        })
    }

    /// Keeps what is known of the cluster.
    ///
    /// # Errors
    /// `Unreachable` if it cannot be written.
    pub fn keep(&self, state: &State) -> Result<()> {
        let text = serde_json::to_string_pretty(state)
            .map_err(|cause| Error::bug(format!("the state is no JSON: {cause}")))?;
        self.replace("state.json", &text)
    }

    /// Forgets the cluster. Its logs stay.
    pub fn forget(&self) {
        for name in ["state.json", "control.sock"] {
            if let Err(cause) = std::fs::remove_file(self.path.join(name)) {
                log::debug!("{name} stays: {cause}");
            }
        }
    }

    /// The log file of a job.
    pub fn log_file(&self, id: &str) -> PathBuf {
        self.logs().join(format!("{}.log", job_number(id)))
    }

    /// The last lines of a job's log, indented; says so if there are none.
    pub fn log_tail(&self, id: &str) -> String {
        let path = self.log_file(id);
        let text = tail(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        match last.is_empty() {
            true => format!("its log file {} is empty or not there", path.display()),
            false => format!("its log file {} ends:\n  {}", path.display(), last.join("\n  ")),
        }
    }

    fn replace(&self, name: &str, text: &str) -> Result<()> {
        let (path, written) = (self.path.join(name), self.path.join(format!("{name}.part")));
        let write = || {
            let mut file = private().truncate(true).open(&written)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&written, &path)?;
            // not every file system does that for folders
            let _ = File::open(&self.path).and_then(|folder| folder.sync_all());
            Ok(())
        };
        write().map_err(|cause| self.failed("write", &cause))
    }

    fn failed(&self, what: &str, cause: &std::io::Error) -> Error {
        Error::unreachable(format!(
            "cannot {what} the state of the cluster: {cause}; set XDG_STATE_HOME to a folder of \
             yours that all machines see"
        ))
        .with("folder", self.path.display())
    }
}

/// A file that only its owner may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// The end of a file.
fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = vec![];
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The name of this machine.
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "localhost".into(), |name| name.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_reads_a_cluster() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::of(base.path(), "survey").unwrap();
        assert_eq!(folder.state().unwrap(), None);
        folder.create().unwrap();
        let state = State { jobs: vec!["7".into()], ..State::of_this_process("slurm", "http://h") };
        folder.keep(&state).unwrap();
        assert_eq!(folder.state().unwrap(), Some(state));
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.path().join("state.json")), 0o600);
        assert_eq!(names(base.path()), ["survey"]);
        folder.forget();
        assert_eq!((folder.state().unwrap(), names(base.path())), (None, vec![]));
    }

    #[test]
    fn a_reused_process_number_keeps_nothing() {
        let own = State::of_this_process("slurm", "http://h");
        assert!(own.is_kept());
        assert!(!State { pid_started: own.pid_started + 1, ..own.clone() }.is_kept());
        assert!(State { host: "elsewhere".into(), pid: u32::MAX, ..own }.is_kept());
    }

    #[tokio::test]
    async fn one_process_keeps_a_cluster() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::of(base.path(), "a").unwrap();
        folder.create().unwrap();
        let lock = folder.lock(LOCK_PATIENCE).await.unwrap();
        let error = folder.lock(Duration::ZERO).await.unwrap_err();
        assert!(error.message().contains("another --name"), "{error}");
        drop(lock);
        folder.lock(LOCK_PATIENCE).await.unwrap();
    }

    #[test]
    fn names_stay_within_the_folder() {
        for wrong in ["", "..", "a/b", "a b", ".a", "a\n", &"x".repeat(41)] {
            assert!(Folder::of(Path::new("/tmp"), wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_damaged_state_is_an_error() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::of(base.path(), "a").unwrap();
        folder.create().unwrap();
        std::fs::write(folder.path().join("state.json"), "{").unwrap();
        assert!(folder.state().unwrap_err().message().contains("damaged"));
    }

    #[test]
    fn the_end_of_a_log_is_told() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::of(base.path(), "a").unwrap();
        folder.create().unwrap();
        assert!(folder.log_tail("7.head").contains("logs/7.log is empty or not there"));
        let text: String = (0..10_000).map(|line| format!("line {line}\n")).collect();
        std::fs::write(folder.log_file("7"), text).unwrap();
        let tail = folder.log_tail("7.head");
        assert!(tail.ends_with("  line 9999") && !tail.contains("line 9989"), "{tail}");
    }
}
