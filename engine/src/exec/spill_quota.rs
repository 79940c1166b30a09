//! A bound on what queries write to disk when memory does not suffice.
//!
//! In: a disk manager and a number of bytes. Out: a disk manager whose files come from the first and
//! hold at most so many bytes together. DataFusion's own bound knows only all queries of a process, and
//! its error names a setting that a client of a server cannot change.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::error::Result as DfResult;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder};
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;

use crate::Error;

/// Files of at most so many bytes together.
pub struct SpillQuota {
    files: Arc<DiskManager>,
    used: Arc<Used>,
}

struct Used {
    /// Whose files they are, for the error.
    whose: &'static str,
    bytes_max: u64,
    bytes: AtomicU64,
}

impl SpillQuota {
    /// A disk manager like `files` that gives `whose` queries at most `bytes_max` of it.
    ///
    /// # Errors
    /// Those of making a disk manager.
    pub fn over(
        files: Arc<DiskManager>,
        whose: &'static str,
        bytes_max: u64,
    ) -> DfResult<DiskManager> {
        let merged_max = files.max_spill_merge_fan_in();
        let used = Arc::new(Used { whose, bytes_max, bytes: AtomicU64::new(0) });
        DiskManagerBuilder::default()
            .with_temp_file_factory(Arc::new(Self { files, used }))
            .with_max_spill_merge_fan_in(merged_max)
            .build()
    }
}

impl TempFileFactory for SpillQuota {
    fn create_temp_file(&self, description: &str) -> DfResult<Arc<dyn SpillFile>> {
        let file = self.files.create_tmp_file(description)?;
        let held = Arc::new(Held { used: Arc::clone(&self.used), bytes: AtomicU64::new(0) });
        Ok(Arc::new(QuotaFile { file, held }))
    }
}

impl Used {
    fn take(&self, bytes: u64) -> io::Result<()> {
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.bytes_max);
        let taken = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map(|_| ()).map_err(|used| {
            let error = Error::exhausted(format!(
                "{used} bytes lie on disk as memory did not suffice, and {bytes} more are needed, of \
                 the {} that {} may spill; ask for less at once, or allow more memory or disk",
                self.bytes_max, self.whose
            ));
            io::Error::new(io::ErrorKind::QuotaExceeded, error)
        })
    }
}

/// What a file holds, given back when the file and all its writers are gone.
struct Held {
    used: Arc<Used>,
    bytes: AtomicU64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.used.bytes.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

struct QuotaFile {
    file: Arc<dyn SpillFile>,
    held: Arc<Held>,
}

impl SpillFile for QuotaFile {
    fn path(&self) -> Option<&Path> {
        self.file.path()
    }

    fn size(&self) -> Option<u64> {
        self.file.size()
    }

    fn read_stream(&self) -> DfResult<Pin<Box<dyn Stream<Item = DfResult<Bytes>> + Send>>> {
        self.file.read_stream()
    }

    fn open_writer(&self) -> DfResult<Box<dyn SpillWriter>> {
        let writer = self.file.open_writer()?;
        Ok(Box::new(QuotaWriter { writer, held: Arc::clone(&self.held) }))
    }
}

struct QuotaWriter {
    writer: Box<dyn SpillWriter>,
    held: Arc<Held>,
}

impl io::Write for QuotaWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len() as u64;
        self.held.used.take(count)?;
        // all of them, as so many are taken
        match self.writer.write_all(bytes) {
            Ok(()) => self.held.bytes.fetch_add(count, Ordering::Relaxed),
            Err(cause) => {
                self.held.used.bytes.fetch_sub(count, Ordering::Relaxed);
                return Err(cause);
            }
        };
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl SpillWriter for QuotaWriter {
    fn finish(&mut self) -> DfResult<()> {
        self.writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn files_hold_no_more_than_both_bounds_and_give_back_what_they_held() {
        let all = DiskManagerBuilder::default().build().unwrap();
        let all = Arc::new(SpillQuota::over(Arc::new(all), "all queries", 100).unwrap());
        let [one, two] = [(); 2]
            .map(|()| Arc::new(SpillQuota::over(Arc::clone(&all), "one query", 60).unwrap()));
        let file = one.create_tmp_file("a sort").unwrap();
        let mut writer = file.open_writer().unwrap();
        writer.write_all(&[1; 50]).unwrap();
        let error = writer.write_all(&[1; 11]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        assert!(error.to_string().contains("50 bytes lie on disk"), "{error}");
        assert!(error.to_string().contains("60 that one query may spill"), "{error}");
        let other = two.create_tmp_file("a sort").unwrap();
        let error = other.open_writer().unwrap().write_all(&[2; 51]).unwrap_err();
        assert!(error.to_string().contains("100 that all queries may spill"), "{error}");
        // a refusal of all takes nothing from the one
        other.open_writer().unwrap().write_all(&[2; 50]).unwrap();
        let path = file.path().unwrap().to_path_buf();
        assert_eq!(std::fs::read(&path).unwrap(), [1; 50]);
        drop((file, writer));
        assert!(!path.exists());
        let file = one.create_tmp_file("a sort").unwrap();
        file.open_writer().unwrap().write_all(&[3; 50]).unwrap();
        assert_eq!(file.size(), Some(50));
    }
}
