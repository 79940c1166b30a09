//! Where a file's bytes are: on a local disk, or behind a URL.
//!
//! Stage: lowest. In: a location. Out: byte ranges, by `pread` or by ranged gets of the object store
//! that the session has for the URL. Not here: what the bytes mean.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use almagest_engine::{Error, Result};
use arrow::buffer::MutableBuffer;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use crate::regular_files::check_regular;

/// Asks the session's store for local files whether a path may be read: it is read past that store,
/// which on a server refuses most.
async fn check_allowed(runtime: &RuntimeEnv, path: &str) -> Result<()> {
    let whole = tokio::fs::canonicalize(path).await.or_else(|_| std::path::absolute(path));
    let whole = whole.map_err(|cause| Error::plan(format!("no path of a file: {cause}")))?;
    let asked = Path::from_absolute_path(&whole)
        .map_err(|cause| Error::plan(format!("no path of a file: {cause}")))?;
    let store = runtime.object_store(ObjectStoreUrl::local_filesystem())?;
    match store.head(&asked).await {
        Err(refused @ object_store::Error::PermissionDenied { .. }) => {
            let refused = Error::from(refused);
            // by the name that was given: who may not read a file does not learn where a link leads
            let message = refused.message().replace(&whole.display().to_string(), path);
            Err(Error::new(refused.kind(), message))
        }
        // that it is not there, or a folder, is told when it is opened
        _ => Ok(()),
    }
}

/// Bytes of the widest number.
const ALIGNMENT: usize = 16;

/// A file that is read by byte ranges.
#[derive(Debug)]
pub struct FileBytes {
    place: FilePlace,
    len: u64,
}

#[derive(Debug)]
enum FilePlace {
    Local(File),
    Remote { store: Arc<dyn ObjectStore>, path: Path, runtime: Handle },
}

impl FileBytes {
    /// Opens the file at `location`, a path or a URL.
    ///
    /// # Errors
    /// `NotFound`, `Unreachable`, `Unsupported` for folders.
    pub async fn open(runtime: &RuntimeEnv, location: &str) -> Result<Self> {
        let local = location.strip_prefix("file://").unwrap_or(location);
        if !local.contains("://") {
            // whoever opens a pipe waits for ever, and this does not open it by the store
            check_allowed(runtime, local).await?;
            check_regular(local.as_ref())?;
            let path = local.to_string();
            let opened = tokio::task::spawn_blocking(move || Self::open_local(&path)).await;
            return opened.map_err(|cause| Error::bug("opening a file").caused_by(cause))?;
        }
        let url = ListingTableUrl::parse(location)
            .map_err(|cause| Error::plan(format!("not a URL: {cause}")))?;
        let store = runtime.object_store(url.object_store())?;
        let path = url.prefix().clone();
        let len = store.head(&path).await?.size;
        Ok(Self { place: FilePlace::Remote { store, path, runtime: Handle::current() }, len })
    }

    fn open_local(path: &str) -> Result<Self> {
        let failed = |cause: std::io::Error| {
            let message = format!("cannot open the file: {cause}");
            match cause.kind() {
                std::io::ErrorKind::NotFound => Error::not_found(message),
                _ => Error::unreachable(message),
            }
        };
        let file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if found.is_dir() {
            return Err(Error::unsupported("a folder, where one HDF5 file was expected"));
        }
        Ok(Self { place: FilePlace::Local(file), len: found.len() })
    }

    /// Bytes in the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether ranges come over a network, so that [`FileBytes::fetch`] must bring them.
    pub fn is_remote(&self) -> bool {
        matches!(self.place, FilePlace::Remote { .. })
    }

    /// Fills `bytes` from `offset` on. Blocks; on a remote file it may only be called from a thread
    /// for blocking work.
    ///
    /// # Errors
    /// `DataInvalid` past the end, `Unreachable`.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.len {
            return Err(Error::data_invalid(format!(
                "bytes {offset}..{end} pass the end of the file ({} bytes); is it cut short?",
                self.len
            )));
        }
        match &self.place {
            FilePlace::Local(file) => file.read_exact_at(bytes, offset).map_err(|cause| {
                let message = format!("bytes {offset}..{end} cannot be read: {cause}");
                match cause.kind() {
                    std::io::ErrorKind::UnexpectedEof => Error::data_invalid(message),
                    _ => Error::unreachable(message),
                }
            }),
            FilePlace::Remote { store, path, runtime } => {
                let found = runtime.block_on(store.get_range(path, offset..end))?;
                if found.len() != bytes.len() {
                    return Err(short(found.len(), bytes.len()));
                }
                bytes.copy_from_slice(&found);
                Ok(())
            }
        }
    }

    /// The `len` bytes from `offset` of a local file on, in memory that was not cleared before;
    /// `None` if the file is remote or does not hold them, which [`FileBytes::read_at`] explains.
    pub fn read_uncleared(&self, len: usize, offset: u64) -> Option<MutableBuffer> {
        let FilePlace::Local(file) = &self.place else { return None };
        let end = offset.checked_add(len as u64)?;
        if len == 0 || end > self.len {
            return None;
        }
        let mut bytes: Vec<u8> = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
        bytes.truncate(len);
        // Arrow wants numbers at multiples of their width; allocators give that to large blocks.
        (bytes.as_ptr() as usize).is_multiple_of(ALIGNMENT).then(|| MutableBuffer::from(bytes))
    }

    /// Brings ranges of a remote file, near ones in one request; none of a local file.
    ///
    /// # Errors
    /// `DataInvalid` past the end, `Unreachable`, `NotFound`.
    pub async fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        let FilePlace::Remote { store, path, .. } = &self.place else { return Ok(vec![]) };
        let found = store.get_ranges(path, ranges).await?;
        for (bytes, range) in found.iter().zip(ranges) {
            if bytes.len() as u64 != range.end - range.start {
                return Err(short(bytes.len(), (range.end - range.start) as usize));
            }
        }
        Ok(found)
    }
}

fn short(found: usize, wanted: usize) -> Error {
    Error::unreachable(format!("the store gave {found} bytes where {wanted} were asked for"))
}
