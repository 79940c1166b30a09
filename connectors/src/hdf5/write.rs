//! Writes chunked, compressed datasets to a new HDF5 file, from many threads, in bounded memory.
//!
//! In: whole chunks, in any order. Out: a file that every HDF5 library since 1.0 reads. Threads
//! compress on their own and write at an offset reserved atomically; the chunk index, the object
//! headers and at last the superblock follow in [`FileWriter::finish`] (HDF5 File Format
//! Specification 3.0, the forms that h5py writes by default). The file gets its name only then, so
//! an interrupted run leaves nothing under it. Not here: reading ([`super::source`]), the bytes of
//! headers ([`headers`]), the chunk index ([`chunk_index`]).

mod chunk_index;
mod headers;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use almagest_engine::{Error, Result};
use arrow::datatypes::DataType;
use libdeflater::{CompressionError, CompressionLvl, Compressor};
use parking_lot::Mutex;

use chunk_index::IndexedChunk;

/// A chunk's stored size is a 32-bit number in the index.
const CHUNK_BYTES_MAX: u64 = u32::MAX as u64;
/// Axes that HDF5 allows.
const AXES_MAX: usize = 32;

/// A dataset to be written.
#[derive(Clone, Debug)]
pub struct NewDataset {
    /// Its name in the root group; no `/`.
    pub name: String,
    /// Type of its elements: an integer of 8 to 64 bits or a float of 16 to 64.
    pub data_type: DataType,
    /// Lengths of its axes, slowest first.
    pub shape: Vec<u64>,
    /// Lengths of a chunk's axes.
    pub chunk_shape: Vec<u64>,
    /// Whether the bytes of elements are regrouped before compression.
    pub shuffle: bool,
    /// Level of gzip, 1 to 12; not compressed if absent.
    pub gzip_level: Option<u8>,
}

/// A dataset with what follows from its description.
#[derive(Debug)]
struct Dataset {
    new: NewDataset,
    element_bytes: usize,
    chunk_bytes: usize,
    gzip_level: Option<CompressionLvl>,
    chunks: Mutex<Vec<IndexedChunk>>,
}

/// An HDF5 file in the making. Dropped before [`Self::finish`], it leaves no file behind.
#[derive(Debug)]
pub struct FileWriter {
    file: File,
    path: PathBuf,
    partial_path: PathBuf,
    datasets: Vec<Dataset>,
    end: AtomicU64,
    finished: AtomicBool,
}

impl FileWriter {
    /// Begins a file with these datasets. Chunks that are never written read as 0.
    ///
    /// # Errors
    /// `Plan` for a description that HDF5 cannot hold, `Unsupported` for a type that is not a
    /// number, `Unreachable` if the file cannot be made.
    pub fn create(path: &Path, datasets: Vec<NewDataset>) -> Result<Self> {
        let name = path.file_name().ok_or_else(|| {
            Error::plan(format!("'{}' names no file; give one that ends in .h5", path.display()))
        })?;
        let mut datasets =
            datasets.into_iter().map(Dataset::try_new).collect::<Result<Vec<_>>>()?;
        datasets.sort_by(|a, b| a.new.name.cmp(&b.new.name)); // the group's table is sorted
        if let Some(twice) = datasets.windows(2).find(|two| two[0].new.name == two[1].new.name) {
            return Err(Error::plan(format!("two datasets named '{}'", twice[0].new.name)));
        }
        let mut partial_name = name.to_os_string();
        partial_name.push(format!(".{}.partial", std::process::id()));
        let partial_path = path.with_file_name(partial_name);
        let file = File::options().read(true).write(true).create_new(true).open(&partial_path);
        let file = file.map_err(|cause| cannot_write(&partial_path, cause))?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
            partial_path,
            datasets,
            end: AtomicU64::new(headers::SUPERBLOCK_BYTES),
            finished: AtomicBool::new(false),
        })
    }

    /// A writer of the chunks of one dataset; one for each thread.
    ///
    /// # Errors
    /// `NotFound` if no dataset has this name.
    pub fn chunks(&self, dataset: &str) -> Result<ChunkWriter<'_>> {
        let found = self.datasets.iter().find(|known| known.new.name == dataset);
        let dataset = found.ok_or_else(|| Error::not_found(format!("no dataset '{dataset}'")))?;
        Ok(ChunkWriter {
            writer: self,
            dataset,
            compressor: dataset.gzip_level.map(Compressor::new),
            shuffled: vec![],
            compressed: vec![],
        })
    }

    /// Writes index and headers, and gives the file its name. Returns its length in bytes.
    ///
    /// # Errors
    /// `Unreachable` if the file cannot be written.
    pub fn finish(self) -> Result<u64> {
        let mut at = self.end.load(Ordering::Acquire).next_multiple_of(8);
        let mut members = vec![];
        for dataset in &self.datasets {
            let mut chunks = std::mem::take(&mut *dataset.chunks.lock());
            let new = &dataset.new;
            let index = chunk_index::encode(&mut chunks, dataset.element_bytes, at);
            self.write_at(&index.bytes, at)?;
            at += index.bytes.len() as u64;
            let header = headers::dataset_header(new, dataset.element_bytes, index.root)?;
            self.write_at(&header, at)?;
            members.push((new.name.as_str(), at));
            at += header.len() as u64;
        }
        let group = headers::root_group(&members, at);
        self.write_at(&group.bytes, at)?;
        at += group.bytes.len() as u64;
        self.write_at(&headers::superblock(&group, at), 0)?;
        std::fs::rename(&self.partial_path, &self.path)
            .map_err(|cause| cannot_write(&self.path, cause))?;
        self.finished.store(true, Ordering::Release);
        Ok(at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        let written = self.file.write_all_at(bytes, at);
        written.map_err(|cause| cannot_write(&self.path, cause))
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if !self.finished.load(Ordering::Acquire) {
            let _ = std::fs::remove_file(&self.partial_path);
        }
    }
}

/// Filters and writes chunks of one dataset; keeps its buffers from one to the next.
pub struct ChunkWriter<'a> {
    writer: &'a FileWriter,
    dataset: &'a Dataset,
    compressor: Option<Compressor>,
    shuffled: Vec<u8>,
    compressed: Vec<u8>,
}

impl ChunkWriter<'_> {
    /// Writes the chunk whose first element stands at `start`. `elements` are little-endian, a
    /// whole chunk in row-major order, also at the far edges of the array. Each chunk is written
    /// once at the most.
    ///
    /// # Errors
    /// `Plan` if no chunk begins there or the length is not a chunk's, `Unreachable` if the file
    /// cannot be written.
    pub fn write(&mut self, start: &[u64], elements: &[u8]) -> Result<()> {
        self.dataset.check(start, elements.len())?;
        let mut bytes = elements;
        if self.dataset.new.shuffle {
            shuffle(bytes, self.dataset.element_bytes, &mut self.shuffled);
            bytes = &self.shuffled;
        }
        let mut filter_mask = 0;
        if let Some(compressor) = &mut self.compressor {
            self.compressed.resize(bytes.len(), 0);
            match compressor.zlib_compress(bytes, &mut self.compressed) {
                Ok(length) => bytes = &self.compressed[..length],
                // It would not become smaller: stored without, as the mask says.
                Err(CompressionError::InsufficientSpace) => {
                    filter_mask = 1 << u32::from(self.dataset.new.shuffle);
                }
            }
        }
        let address = self.writer.end.fetch_add(bytes.len() as u64, Ordering::AcqRel);
        self.writer.write_at(bytes, address)?;
        self.dataset.chunks.lock().push(IndexedChunk {
            start: start.into(),
            address,
            stored_bytes: bytes.len() as u32,
            filter_mask,
        });
        Ok(())
    }
}

impl Dataset {
    fn try_new(new: NewDataset) -> Result<Self> {
        let at = |error: Error| error.with("dataset", &new.name);
        if new.name.is_empty() || new.name.contains(['/', '\0']) || new.name == "." {
            return Err(Error::plan(format!("'{}' cannot name a dataset", new.name)));
        }
        let element_bytes = headers::element_bytes(&new.data_type).map_err(at)?;
        let (shape, chunk) = (&new.shape, &new.chunk_shape);
        let fits = !shape.is_empty()
            && shape.len() <= AXES_MAX
            && shape.len() == chunk.len()
            && chunk.iter().all(|length| (1..=u64::from(u32::MAX)).contains(length));
        if !fits {
            return Err(at(Error::plan(format!(
                "chunks of {chunk:?} for the shape {shape:?}: a length of 1 or more is needed for \
                 each of 1 to {AXES_MAX} axes"
            ))));
        }
        let bytes = chunk.iter().try_fold(element_bytes as u64, |bytes, length| {
            bytes.checked_mul(*length).filter(|bytes| *bytes <= CHUNK_BYTES_MAX)
        });
        let bytes = bytes.ok_or_else(|| {
            at(Error::plan(format!(
                "chunks of {chunk:?} are larger than the {CHUNK_BYTES_MAX} bytes that HDF5 allows"
            )))
        })?;
        let gzip_level = match new.gzip_level {
            None => None,
            Some(level) => Some(CompressionLvl::new(level.into()).map_err(|_| {
                at(Error::plan(format!("gzip level {level}; there are levels 1 to 12")))
            })?),
        };
        Ok(Self {
            element_bytes,
            chunk_bytes: bytes as usize,
            gzip_level,
            chunks: Mutex::new(vec![]),
            new,
        })
    }

    fn check(&self, start: &[u64], bytes: usize) -> Result<()> {
        let (shape, chunk) = (&self.new.shape, &self.new.chunk_shape);
        let begins = start.len() == shape.len()
            && start.iter().zip(shape).all(|(at, length)| at < length)
            && start.iter().zip(chunk).all(|(at, length)| at % length == 0);
        if !begins {
            return Err(Error::plan(format!(
                "no chunk begins at {start:?} in {shape:?} with chunks of {chunk:?}"
            )));
        }
        if bytes != self.chunk_bytes {
            return Err(Error::plan(format!(
                "{bytes} bytes for a chunk, where {} were expected",
                self.chunk_bytes
            )));
        }
        Ok(())
    }
}

/// The first bytes of all elements, then the second bytes, and so on (filter 2).
fn shuffle(bytes: &[u8], width: usize, out: &mut Vec<u8>) {
    out.resize(bytes.len(), 0);
    let count = bytes.len() / width;
    for (lane, plane) in out.chunks_exact_mut(count).enumerate() {
        for (to, element) in plane.iter_mut().zip(bytes.chunks_exact(width)) {
            *to = element[lane];
        }
    }
}

fn cannot_write(path: &Path, cause: io::Error) -> Error {
    Error::unreachable(format!("cannot write: {cause}"))
        .with("file", path.display())
        .caused_by(cause)
}

#[cfg(test)]
mod tests;
