//! Where bytes end: stdout, or a file that gets its name only when it is complete.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use almagest::{Error, Result};
use almagest_engine::write::WholeFile;

/// A place for bytes. Clones write to the same place.
#[derive(Clone)]
pub struct Sink {
    inner: Arc<Inner>,
    before_bytes: Arc<Mutex<Option<Announcement>>>,
}

type Announcement = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
struct Inner {
    target: Target,
    reader_left: AtomicBool,
}

#[derive(Debug)]
enum Target {
    Stdout,
    /// A device or a named pipe, written as it is.
    Direct(File, PathBuf),
    /// A file that is written beside its place, until it is moved there.
    Staged(Mutex<Option<WholeFile>>, PathBuf),
}

impl Sink {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::new(Target::Stdout)
    }

    /// A file. If it cannot be created, nothing that exists is touched.
    ///
    /// # Errors
    /// `NotFound` or `Unreachable`.
    pub fn file(path: &Path) -> Result<Self> {
        let failed = |cause: std::io::Error| {
            let message = format!("cannot write to the output file: {cause}");
            let error = match cause.kind() {
                ErrorKind::NotFound => Error::not_found(message),
                _ => Error::unreachable(message),
            };
            error.with("file", path.display())
        };
        // A link's target is replaced, not the link.
        let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        match std::fs::metadata(path) {
            Ok(seen) if !seen.is_file() => {
                let file = File::options().write(true).open(path).map_err(failed)?;
                Ok(Self::new(Target::Direct(file, path.clone())))
            }
            _ => {
                let whole = WholeFile::create(path).map_err(failed)?;
                Ok(Self::new(Target::Staged(Mutex::new(Some(whole)), path.clone())))
            }
        }
    }

    fn new(target: Target) -> Self {
        let inner = Arc::new(Inner { target, reader_left: AtomicBool::new(false) });
        Self { inner, before_bytes: Arc::default() }
    }

    /// The same place, with something to do before the next bytes reach it.
    pub fn announcing(&self, before_bytes: impl FnOnce() + Send + 'static) -> Self {
        let announcement: Announcement = Box::new(before_bytes);
        Self {
            inner: Arc::clone(&self.inner),
            before_bytes: Arc::new(Mutex::new(Some(announcement))),
        }
    }

    /// The file, if it is not stdout.
    pub fn path(&self) -> Option<PathBuf> {
        match &self.inner.target {
            Target::Stdout => None,
            Target::Direct(_, path) | Target::Staged(_, path) => Some(path.clone()),
        }
    }

    /// Whether the reader at the other end has closed it.
    pub fn reader_left(&self) -> bool {
        self.inner.reader_left.load(Ordering::Relaxed)
    }

    /// Gives a file its name.
    ///
    /// # Errors
    /// `Unreachable`.
    pub fn commit(&self) -> Result<()> {
        if let Target::Staged(whole, path) = &self.inner.target
            && let Some(whole) = whole.lock().ok().and_then(|mut whole| whole.take())
        {
            whole.publish().map_err(|cause| {
                Error::unreachable(format!("cannot complete the output file: {cause}"))
                    .with("file", path.display())
            })?;
        }
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let announcement = self.before_bytes.lock().ok().and_then(|mut waiting| waiting.take());
        if let Some(announcement) = announcement
            && matches!(self.inner.target, Target::Stdout)
            && std::io::stdout().is_terminal()
        {
            announcement();
        }
        let outcome = match &self.inner.target {
            Target::Stdout => std::io::stdout().lock().write(bytes),
            Target::Direct(file, _) => (&mut &*file).write(bytes),
            Target::Staged(whole, _) => in_file(whole, |mut file| file.write(bytes)),
        };
        self.watch(outcome)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let outcome = match &self.inner.target {
            Target::Stdout => std::io::stdout().lock().flush(),
            Target::Direct(file, _) => (&mut &*file).flush(),
            Target::Staged(whole, _) => in_file(whole, |mut file| file.flush()),
        };
        self.watch(outcome)
    }
}

impl Sink {
    fn watch<T>(&self, outcome: std::io::Result<T>) -> std::io::Result<T> {
        if outcome.as_ref().is_err_and(|cause| cause.kind() == ErrorKind::BrokenPipe) {
            self.inner.reader_left.store(true, Ordering::Relaxed);
        }
        outcome
    }
}

/// Does something with the file, unless it has its name already.
fn in_file<T>(
    whole: &Mutex<Option<WholeFile>>,
    work: impl FnOnce(&File) -> std::io::Result<T>,
) -> std::io::Result<T> {
    let whole = whole.lock().map_err(|_| std::io::Error::other("a writer panicked"))?;
    match whole.as_ref() {
        Some(whole) => work(whole.file()),
        None => Err(std::io::Error::other("the file is complete already")),
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.target.fmt(f)
    }
}
