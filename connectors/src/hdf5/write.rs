//! Writes chunked, compressed datasets to a new HDF5 file, from many threads, in bounded memory.
//!
//! In: whole chunks, in any order. Out: a file that every HDF5 library since 1.0 reads. Threads
//! compress on their own and write at an offset reserved atomically; the chunk index, the object
//! headers and at last the superblock follow in [`FileWriter::finish`] (HDF5 File Format
//! Specification 3.0, the forms that h5py writes by default). The file gets its name only then, so
//! an interrupted run leaves nothing under it. Not here: reading ([`super::dataset`]), the bytes of
//! headers ([`headers`]), the chunk index ([`chunk_index`]).

mod chunk_index;
mod headers;
mod members;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use almagest_engine::{Error, Result};
use arrow::datatypes::DataType;
use libdeflater::{CompressionError, CompressionLvl, Compressor};
use parking_lot::Mutex;

use crate::partial_file::{PartialFile, Remover};
use chunk_index::IndexedChunk;
use members::Members;

/// A chunk's stored size is a 32-bit number in the index.
const CHUNK_BYTES_MAX: u64 = u32::MAX as u64;
/// Axes that HDF5 allows.
const AXES_MAX: usize = 32;

/// A dataset to be written.
#[derive(Clone, Debug)]
pub struct NewDataset {
    /// Its path in the file, without a `/` in front; groups on the way are made.
    pub name: String,
    /// Names of its axes, which `DIMENSION_LABELS` will hold; none if empty.
    pub dims: Vec<String>,
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
    /// The element, little-endian, of chunks that are never written; 0 if absent.
    pub fill: Option<Vec<u8>>,
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
    file: PartialFile,
    datasets: Vec<Dataset>,
    end: AtomicU64,
}

impl FileWriter {
    /// Begins a file with these datasets. Chunks that are never written read as the fill value.
    ///
    /// # Errors
    /// `Plan` for a description that HDF5 cannot hold, `Unsupported` for a type that is not a
    /// number, `Unreachable` if the file cannot be made.
    pub fn create(path: &Path, datasets: Vec<NewDataset>) -> Result<Self> {
        let datasets = datasets.into_iter().map(Dataset::try_new).collect::<Result<Vec<_>>>()?;
        Members::of(datasets.iter().map(|dataset| dataset.new.name.as_str()))?;
        let file = PartialFile::create(path)?;
        Ok(Self { file, datasets, end: AtomicU64::new(headers::SUPERBLOCK_BYTES) })
    }

    /// What removes the unfinished file when it is dropped.
    pub(crate) fn remover(&self) -> Remover {
        self.file.remover()
    }

    /// Gives every dataset another shape, and another chunk shape, which may differ only while no
    /// chunk is written.
    ///
    /// # Errors
    /// `Plan` for shapes that HDF5 cannot hold.
    pub fn reshape(&mut self, shape: &[u64], chunk_shape: &[u64]) -> Result<()> {
        for dataset in &mut self.datasets {
            let new = NewDataset {
                shape: shape.to_vec(),
                chunk_shape: chunk_shape.to_vec(),
                ..dataset.new.clone()
            };
            let chunks = std::mem::take(&mut *dataset.chunks.lock());
            if !chunks.is_empty() && dataset.new.chunk_shape != chunk_shape {
                return Err(Error::bug("chunks of another shape are already written"));
            }
            *dataset = Dataset::try_new(new)?;
            *dataset.chunks.lock() = chunks;
        }
        Ok(())
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
        let mut members = Members::of(self.datasets.iter().map(|known| known.new.name.as_str()))?;
        for dataset in &self.datasets {
            let mut chunks = std::mem::take(&mut *dataset.chunks.lock());
            let new = &dataset.new;
            let index = chunk_index::encode(&mut chunks, dataset.element_bytes, at);
            at = self.append(&index.bytes, at)?;
            let labels = (!new.dims.is_empty()).then_some(at);
            if labels.is_some() {
                at = self.append(&headers::label_heap(&new.dims), at)?;
            }
            let header = headers::dataset_header(new, dataset.element_bytes, index.root, labels)?;
            members.place(&new.name, at);
            at = self.append(&header, at)?;
        }
        let leaf_k = members.leaf_k();
        let (root, mut at) = members.write(leaf_k, at, &mut |bytes, at| self.append(bytes, at))?;
        at = at.next_multiple_of(8);
        self.file.write_at(&headers::superblock(&root, leaf_k, at), 0)?;
        self.file.publish()?;
        Ok(at)
    }

    /// Writes at an offset and gives the offset behind.
    fn append(&self, bytes: &[u8], at: u64) -> Result<u64> {
        self.file.write_at(bytes, at)?;
        Ok(at + bytes.len() as u64)
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
        self.writer.file.write_at(bytes, address)?;
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
        let element_bytes = headers::element_bytes(&new.data_type).map_err(at)?;
        let (shape, chunk) = (&new.shape, &new.chunk_shape);
        if new.fill.as_ref().is_some_and(|fill| fill.len() != element_bytes) {
            return Err(at(Error::bug("a fill value of another width")));
        }
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

#[cfg(test)]
mod tests;
