//! A file that COPY writes, which gets its name only when it is whole.
//!
//! In: bytes at offsets, from many threads. Out: the file, in the place of one that was there before;
//! nothing if it is dropped first. Not here: what the bytes mean, and how a file gets its name
//! ([`WholeFile`]).

use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use almagest_engine::write::{WholeFile, create_folders};
use almagest_engine::{Error, Result};

use crate::regular_files::check_regular;

/// A file in the making.
#[derive(Debug)]
pub struct PartialFile {
    whole: WholeFile,
    path: PathBuf,
}

impl PartialFile {
    /// Begins what will be the file at `path`; makes the folders that it is to be in, as COPY to
    /// Parquet does.
    ///
    /// # Errors
    /// `Plan` if `path` names no file, `Unreachable` if none can be made there.
    pub fn create(path: &Path) -> Result<Self> {
        if path.file_name().is_none() || path.is_dir() {
            return Err(Error::plan("a file is to be written, and this names none")
                .with("target", path.display()));
        }
        check_regular(path)?;
        let made = path.parent().map_or(Ok(()), create_folders);
        let whole = made.and_then(|()| WholeFile::create(path));
        let whole = whole.map_err(|cause| cannot_write(path, cause))?;
        Ok(Self { whole, path: path.to_path_buf() })
    }

    /// What removes the file when it is dropped, while others may still be writing to it; nothing once
    /// the file has its name.
    pub fn remover(&self) -> Remover {
        Remover(self.whole.partial_path().to_path_buf())
    }

    /// Writes all of `bytes` at the offset `at`.
    ///
    /// # Errors
    /// `Unreachable`, `Exhausted` for a full disk.
    pub fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.whole.file().write_all_at(bytes, at).map_err(|cause| cannot_write(&self.path, cause))
    }

    /// Takes room for so many bytes, which read as 0.
    ///
    /// # Errors
    /// `Exhausted` for a full disk, `Unreachable`.
    pub fn reserve(&self, bytes: u64) -> Result<()> {
        let file = self.whole.file();
        let taken = rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes);
        match taken {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => {
                file.set_len(bytes).map_err(|cause| cannot_write(&self.path, cause))
            }
            Err(cause) => Err(cannot_write(&self.path, cause.into())),
        }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// `Unreachable`.
    pub fn publish(self) -> Result<()> {
        let Self { whole, path } = self;
        whole.publish().map_err(|cause| cannot_write(&path, cause))
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

fn cannot_write(path: &Path, cause: io::Error) -> Error {
    let message = format!("cannot write: {cause}");
    let error = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::exhausted(message),
        _ => Error::unreachable(message),
    };
    error.with("target", path.display()).caused_by(cause)
}
