//! A file that gets its name only when it is whole.
//!
//! In: bytes at offsets, from many threads. Out: the file, in the place of one that was there before;
//! nothing if it is dropped first. Not here: what the bytes mean.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use almagest_engine::{Error, Result};

use crate::regular_files::check_regular;

/// A file in the making.
#[derive(Debug)]
pub struct PartialFile {
    file: File,
    path: PathBuf,
    partial_path: PathBuf,
    published: bool,
}

impl PartialFile {
    /// Begins what will be the file at `path`; makes the folders that it is to be in, as COPY to
    /// Parquet does.
    ///
    /// # Errors
    /// `Plan` if `path` names no file, `Unreachable` if none can be made there.
    pub fn create(path: &Path) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().filter(|_| !path.is_dir()).ok_or_else(|| {
            Error::plan("a file is to be written, and this names none")
                .with("target", path.display())
        })?;
        check_regular(path)?;
        let mut partial_name = name.to_os_string();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        partial_name.push(format!(".{}-{count}.partial", std::process::id()));
        let partial_path = path.with_file_name(partial_name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|cause| cannot_write(path, cause))?;
        }
        let file = File::options().read(true).write(true).create_new(true).open(&partial_path);
        let file = file.map_err(|cause| cannot_write(path, cause))?;
        Ok(Self { file, path: path.to_path_buf(), partial_path, published: false })
    }

    /// What removes the file when it is dropped, while others may still be writing to it; nothing once
    /// the file has its name.
    pub fn remover(&self) -> Remover {
        Remover(self.partial_path.clone())
    }

    /// Writes all of `bytes` at the offset `at`.
    ///
    /// # Errors
    /// `Unreachable`, `Exhausted` for a full disk.
    pub fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.file.write_all_at(bytes, at).map_err(|cause| cannot_write(&self.path, cause))
    }

    /// Takes room for so many bytes, which read as 0.
    ///
    /// # Errors
    /// `Exhausted` for a full disk, `Unreachable`.
    pub fn reserve(&self, bytes: u64) -> Result<()> {
        let taken =
            rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, bytes);
        match taken {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => {
                self.file.set_len(bytes).map_err(|cause| cannot_write(&self.path, cause))
            }
            Err(cause) => Err(cannot_write(&self.path, cause.into())),
        }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// `Unreachable`.
    pub fn publish(mut self) -> Result<()> {
        std::fs::rename(&self.partial_path, &self.path)
            .map_err(|cause| cannot_write(&self.path, cause))?;
        self.published = true;
        Ok(())
    }
}

/// Removes an unfinished file when it is dropped.
#[derive(Debug)]
pub struct Remover(PathBuf);

impl Drop for Remover {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.published {
            let _ = std::fs::remove_file(&self.partial_path);
        }
    }
}

fn cannot_write(path: &Path, cause: io::Error) -> Error {
    let message = format!("cannot write: {cause}");
    let error = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::exhausted(message),
        _ => Error::unreachable(message),
    };
    error.with("target", path.display()).caused_by(cause)
}
