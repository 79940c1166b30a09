//! What a file format must give the engine for one array, and nothing more.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::DataType;
use async_trait::async_trait;
use bytes::Bytes;

use super::{Block, Grid, ReadContext, Region};
use crate::Result;

/// What is known about an array before any element is read.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayMeta {
    /// One name per axis, slowest first.
    pub dims: Vec<String>,
    /// Length of each axis.
    pub shape: Vec<u64>,
    /// The element's Arrow type. Half floats are given as `Float32`.
    pub data_type: DataType,
    /// Whether elements may be missing.
    pub nullable: bool,
    /// Length of a stored chunk on each axis. An array that is stored in one piece gives the boxes
    /// in which it is best read.
    pub chunk_shape: Vec<u64>,
}

impl ArrayMeta {
    /// The array's chunk grid.
    pub fn grid(&self) -> Grid {
        Grid::new(&self.shape, &self.chunk_shape)
    }

    /// The number of elements.
    pub fn element_count(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Bytes of the decoded elements of a region. Text and bytes count as 16 each, as their lengths
    /// are not known.
    pub fn bytes_of(&self, region: &Region) -> u64 {
        self.bytes_of_elements(region.element_count())
    }

    /// Bytes of so many decoded elements.
    pub fn bytes_of_elements(&self, count: u64) -> u64 {
        count.saturating_mul(element_bytes(&self.data_type))
    }
}

fn element_bytes(data_type: &DataType) -> u64 {
    const GUESS: u64 = 16;
    match data_type {
        DataType::Struct(fields) => {
            fields.iter().map(|field| element_bytes(field.data_type())).sum()
        }
        other => other.primitive_width().map_or(GUESS, |width| width as u64),
    }
}

/// How an array is stored, for people: what `array_info` shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Storage {
    /// The file's own name for the element type, such as `<f4`.
    pub stored_type: String,
    /// `chunked`, `contiguous`, `compact` or `memory`.
    pub layout: String,
    /// The filters in the order of writing, such as `shuffle, gzip(4)`; empty for none.
    pub compression: String,
    /// Bytes of all elements as the file's type has them, without compression.
    pub raw_bytes: u64,
    /// Bytes in the file, or `None` where finding out would read the whole index.
    pub stored_bytes: Option<u64>,
}

/// What reading has cost so far. Shared by every reader of a scan.
#[derive(Debug, Default)]
pub struct ReadCounters {
    /// Stored chunks that were read.
    pub chunk_count: AtomicU64,
    /// Bytes taken from the file or store.
    pub read_bytes: AtomicU64,
    /// Bytes of elements that came out of the decoders.
    pub decoded_bytes: AtomicU64,
    /// Chunks that were found decoded already.
    pub cache_hits: AtomicU64,
}

impl ReadCounters {
    /// Counts one chunk.
    pub fn chunk(&self, read_bytes: u64, decoded_bytes: u64) {
        self.chunk_count.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(read_bytes, Ordering::Relaxed);
        self.decoded_bytes.fetch_add(decoded_bytes, Ordering::Relaxed);
    }

    /// Counts one chunk that was found decoded.
    pub fn hit(&self) {
        self.cache_hits.fetch_add(1, Ordering::Relaxed);
    }
}

/// What [`ArraySource::fetch`] brought for [`ArraySource::decode`]. A source that reads local files
/// leaves it empty and reads while it decodes.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Stored bytes; what each entry is concerns the source alone.
    pub bytes: Vec<Bytes>,
    /// What was brought for the arrays that an array is computed from.
    pub parts: Vec<Fetched>,
    /// A chunk that was found decoded.
    pub block: Option<Block>,
}

/// One stored array: metadata, and elements by region.
///
/// A source only fetches and decodes. It must not spawn tasks or threads, cache decoded elements,
/// or hold a lock while it reads or decodes: the engine owns concurrency, caching and memory, and
/// calls one source from many threads at once.
///
/// No method has a default. Some sources stand before others and answer for them; one that kept a
/// default would answer wrongly, and nobody would notice. [`super::MemoryArray`] shows the answers of
/// a plain source.
#[async_trait]
pub trait ArraySource: Any + Debug + Send + Sync {
    /// Dimensions, shape, type and chunk grid.
    fn meta(&self) -> &ArrayMeta;

    /// The same array with these fields of its records alone, in this order, if its elements are
    /// records and it can leave the others undecoded.
    fn select(&self, fields: &[usize]) -> Option<Arc<dyn ArraySource>>;

    /// How the array is stored.
    fn storage(&self) -> Storage;

    /// Where the array lies, for messages: the file, and the array in it.
    fn location(&self) -> String;

    /// Opens what the array is read from, if that was put off. Only waits.
    ///
    /// # Errors
    /// Those of opening.
    async fn open(&self, context: &ReadContext) -> Result<()>;

    /// Brings the stored bytes that `region` needs from a remote store. Only waits; never computes.
    /// Sources whose bytes are at hand give nothing.
    ///
    /// # Errors
    /// `Unreachable`, `NotFound`.
    async fn fetch(&self, region: &Region, context: &ReadContext) -> Result<Fetched>;

    /// Whether [`ArraySource::open`] or [`ArraySource::fetch`] has anything to do.
    fn is_remote(&self) -> bool;

    /// Whether decoding a part of a chunk costs as much as decoding all of it, for the chunks under
    /// `region`. Such chunks are kept where several boxes need them.
    fn decodes_whole_chunks(&self, region: &Region) -> bool;

    /// Whether more than `region` of some stored array is read for `region` of this one.
    fn reads_more_than(&self, region: &Region) -> bool;

    /// Whether all elements of `region`, which has some, are known to be one value, so that reading
    /// one of them is enough.
    fn is_uniform(&self, region: &Region) -> bool;

    /// Boxes, numbered from the array's start, that are computed whole however small a part of one
    /// is asked for; the array is best read in such boxes.
    fn cut_shape(&self) -> Option<Vec<u64>>;

    /// Bytes held at once while `region` is decoded, about; not less than [`ArrayMeta::bytes_of`].
    fn working_bytes(&self, region: &Region) -> u64;

    /// The elements of `region`, which lies inside the array. Runs on a thread for computing, and
    /// may read local files.
    ///
    /// # Errors
    /// `DataInvalid`, `Unsupported`, `Exhausted`, with file, array and chunk.
    fn decode(&self, region: &Region, fetched: Fetched, context: &ReadContext) -> Result<Block>;
}
