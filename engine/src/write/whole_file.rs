//! A file that has its name only when it is whole, also after the power fails.
//!
//! In: bytes, which are written to a file beside the place. Out: the file, in the place of one that
//! was there before; nothing if it is dropped first. The bytes are on the disk before the file gets
//! its name, and the name is on the disk before anybody is told. Not here: what bytes mean, and how
//! errors are told.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;
use uuid::Uuid;

/// A file in the making.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    partial: TempPath,
    path: PathBuf,
}

impl WholeFile {
    /// Begins what will be the file at `path`, in a folder that is there.
    ///
    /// # Errors
    /// Those of making a file there; `InvalidInput` if `path` names none.
    pub fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        let mut partial = name.to_os_string();
        partial.push(format!(".{:08x}.partial", Uuid::new_v4().as_fields().0));
        let partial = path.with_file_name(partial);
        let file = File::options().read(true).write(true).create_new(true).open(&partial)?;
        Ok(Self { file, partial: TempPath::try_from_path(partial)?, path: path.to_path_buf() })
    }

    /// Where bytes are written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where the file lies until it has its name.
    pub fn partial_path(&self) -> &Path {
        &self.partial
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// Those of writing to the disk. Then the place is as it was, unless only its folder could not be
    /// written.
    pub fn publish(self) -> io::Result<()> {
        let Self { file, partial, path } = self;
        synced(&file)?;
        noted(Step::Rename);
        partial.persist(&path).map_err(|failed| failed.error)?;
        sync_folder(folder_of(&path))
    }
}

/// Makes `bytes` the file at `path`.
///
/// # Errors
/// As [`WholeFile::publish`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let whole = WholeFile::create(path)?;
    whole.file().write_all(bytes)?;
    whole.publish()
}

/// Gives a file or folder, which is on the disk, another name.
///
/// # Errors
/// Those of renaming, and of writing to the disk.
pub fn rename_for_good(from: &Path, to: &Path) -> io::Result<()> {
    noted(Step::Rename);
    fs::rename(from, to)?;
    sync_folder(folder_of(to))
}

/// Makes a folder and those that it is in, as far as they are not there.
///
/// # Errors
/// Those of making folders, and of writing to the disk.
pub fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    create_folders(above)?;
    match fs::create_dir(folder) {
        // somebody else was faster
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(cause) => Err(cause),
        Ok(()) => sync_folder(above),
    }
}

/// Writes to the disk which files a folder has. File systems that cannot, and systems that are not
/// Unix, keep that in ways of their own.
///
/// # Errors
/// Those of the disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    noted(Step::SyncFolder);
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(cause) if cannot_be_synced(&cause) => Ok(()),
        outcome => outcome,
    }
}

/// Whether a folder's file system does not do it, or whoever writes into the folder may not read it.
fn cannot_be_synced(cause: &io::Error) -> bool {
    let kinds = [ErrorKind::InvalidInput, ErrorKind::Unsupported, ErrorKind::PermissionDenied];
    kinds.contains(&cause.kind())
}

fn synced(file: &File) -> io::Result<()> {
    noted(Step::SyncFile);
    file.sync_all()
}

/// The folder that a path is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// What is done for a file to last; tests look at the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    SyncFile,
    Rename,
    SyncFolder,
}

#[cfg(not(test))]
fn noted(_: Step) {}

#[cfg(test)]
fn noted(step: Step) {
    tests::STEPS.with_borrow_mut(|steps| steps.push(step));
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        pub static STEPS: RefCell<Vec<Step>> = const { RefCell::new(vec![]) };
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn bytes_are_on_the_disk_before_the_name_and_the_name_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_whole(&path, b"old").unwrap();
        STEPS.with_borrow_mut(Vec::clear);
        write_whole(&path, b"new").unwrap();
        let steps = STEPS.with_borrow(Clone::clone);
        assert_eq!(steps, [Step::SyncFile, Step::Rename, Step::SyncFolder]);
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn a_file_that_is_dropped_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_whole(&path, b"old").unwrap();
        let whole = WholeFile::create(&path).unwrap();
        whole.file().write_all(b"ne").unwrap();
        assert!(whole.partial_path().exists());
        drop(whole);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn many_write_one_file_and_the_last_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (one, other) = (WholeFile::create(&path).unwrap(), WholeFile::create(&path).unwrap());
        other.file().write_all(b"other").unwrap();
        one.file().write_all(b"one").unwrap();
        other.publish().unwrap();
        one.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn folders_are_made_with_those_above() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b/c");
        create_folders(&inner).unwrap();
        create_folders(&inner).unwrap();
        assert!(inner.is_dir());
        write_whole(&folder.path().join("file"), b"").unwrap();
        assert!(create_folders(&folder.path().join("file")).is_err());
        rename_for_good(&inner, &folder.path().join("c")).unwrap();
        assert!(folder.path().join("c").is_dir());
    }

    #[test]
    fn what_names_no_file_is_refused() {
        let error = WholeFile::create(Path::new("/")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
