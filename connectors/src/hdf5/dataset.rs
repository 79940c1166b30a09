//! One HDF5 dataset as an array source.
//!
//! In: an object header. Out: blocks of any region, by byte ranges and decoding into the destination,
//! without a lock. Guards: an extent, a chunk or an offset that cannot be true is refused before
//! anything is allocated for it. Not here: cutting regions into pieces ([`super::pieces`]).

use std::ops::Range;
use std::sync::Arc;

use almagest_engine::array::{
    ArrayMeta, ArraySource, Block, Fetched, Grid, ReadContext, Region, Storage, chunks_of,
    default_dim,
};
use almagest_engine::{Error, Result};
use async_trait::async_trait;
use rust_hdf5::format::UNDEF_ADDR;
use rust_hdf5::format::messages::data_layout::DataLayoutMessage;
use rust_hdf5::format::messages::dataspace::{DataspaceClass, DataspaceMessage};
use rust_hdf5::format::messages::datatype::DatatypeMessage;
use rust_hdf5::format::messages::fill_value::{FILL_TIME_NEVER, FillValueMessage};
use rust_hdf5::format::messages::filter::FilterPipeline;
use rust_hdf5::format::messages::{
    MSG_DATA_LAYOUT, MSG_DATASPACE, MSG_DATATYPE, MSG_EXTERNAL_FILE_LIST, MSG_FILL_VALUE,
    MSG_FILL_VALUE_OLD, MSG_FILTER_PIPELINE,
};

use super::element::Element;
use super::filters::Pipeline;
use super::index::{self, Chunks, Shapes};
use super::metadata::{Fields, Metadata, invalid};
use super::object::Object;
use super::pieces::{self, Reader};
use super::storage::FileBytes;

/// A decoded chunk larger than this is refused.
const CHUNK_BYTES_MAX: u64 = 1 << 30;
/// Chunks stored as they are are read whole up to this size where several boxes need parts of them:
/// columns at a chunk's side lie in as many short runs as the chunk has rows.
const PLAIN_CHUNK_BYTES_MAX: u64 = 4 << 20;
/// Elements of a box in which contiguous data are read, and bytes of it unless one element has more.
const RUN_ELEMENTS: u64 = 256 * 1024;
const RUN_BYTES: u64 = 2 << 20;
/// A flag of layout messages of version 4: chunks cut at the array's end have no filters.
const EDGES_UNFILTERED: u8 = 1;

/// A dataset.
#[derive(Clone, Debug)]
pub struct Hdf5Array {
    meta: ArrayMeta,
    /// What is read of each element; a part of what is stored for records.
    element: Element,
    stored: Arc<Stored>,
    location: String,
}

/// A dataset as it lies in its file.
#[derive(Debug)]
pub struct Stored {
    /// Where the bytes are.
    pub file: Arc<FileBytes>,
    /// Where address 0 lies in the file.
    pub base: u64,
    /// The grid of chunks.
    pub grid: Grid,
    /// Bytes of an element.
    pub element_bytes: usize,
    /// The element of what was never written, in the file's byte order; empty for zero. If stored
    /// elements are arrays, all the elements of one of them.
    pub fill: Vec<u8>,
    /// How many of the last axes lie inside stored elements, which are arrays.
    pub element_axes: usize,
    /// Where the elements are.
    pub place: Place,
}

/// Where the elements are.
#[derive(Debug)]
pub enum Place {
    /// In the object header.
    Compact(Vec<u8>),
    /// From this address on; `None` where nothing was ever written.
    Contiguous(Option<u64>),
    /// In chunks.
    Chunked {
        /// Where each chunk is.
        chunks: Chunks,
        /// What was done to it.
        pipeline: Pipeline,
        /// Whether chunks that are cut at the array's end are stored without filters.
        edges_unfiltered: bool,
    },
}

impl Hdf5Array {
    /// Reads the description of the dataset `object`, which is `name` in the file `location`.
    ///
    /// # Errors
    /// `Unsupported` for types, layouts and filters that are not read; `DataInvalid`; `Exhausted`
    /// for chunks too large to be held; `Unreachable`.
    pub fn open(
        metadata: &mut Metadata,
        object: &Object,
        location: &str,
        name: &str,
    ) -> Result<Self> {
        let context = metadata.context;
        let body = wanted(object, MSG_DATATYPE, "type", metadata)?;
        if body.first().is_some_and(|head| head & 0x0f == 2) {
            return Err(Error::unsupported("elements of HDF5's time type"));
        }
        if body.first().is_some_and(|head| head & 0x0f == 11) {
            return Err(Error::unsupported("HDF5 2.0's complex numbers"));
        }
        let datatype = DatatypeMessage::decode(&body, &context);
        let datatype = datatype.map_err(|cause| metadata.failed(cause))?.0;
        let mut element = Element::of(&datatype)?;
        if object.has(MSG_EXTERNAL_FILE_LIST) {
            return Err(Error::unsupported("data stored in another file (external storage)"));
        }
        let body = wanted(object, MSG_DATASPACE, "shape", metadata)?;
        let space = DataspaceMessage::decode(&body, &context);
        let space = space.map_err(|cause| metadata.failed(cause))?.0;
        let mut shapes = shapes_of(space)?;
        let body = wanted(object, MSG_DATA_LAYOUT, "layout", metadata)?;
        let layout = DataLayoutMessage::decode(&body, &context);
        let layout = layout.map_err(|cause| metadata.failed(cause))?.0;
        let mut chunk_shape = chunk_shape_of(&layout, &shapes, element.bytes())?;
        let filters = filters_of(object, &element, metadata)?;
        let fill = fill_of(object, element.bytes(), metadata)?;

        // Elements that are arrays add their axes to the array's own.
        let stored_ndim = shapes.shape.len();
        while let Element::List { count, item } = element {
            shapes.push(count as u64, &mut chunk_shape);
            element = *item;
        }
        let bytes = checked_bytes(&shapes.shape, element.bytes())?;
        let shape = shapes.shape.clone();
        let place = match &layout {
            DataLayoutMessage::Compact { data } if data.len() as u64 == bytes => {
                Place::Compact(data.clone())
            }
            DataLayoutMessage::Compact { data } => {
                return Err(Error::data_invalid(format!(
                    "compact data of {} bytes, where the shape {shape:?} needs {bytes}",
                    data.len()
                )));
            }
            DataLayoutMessage::Contiguous { address: UNDEF_ADDR, .. } => Place::Contiguous(None),
            DataLayoutMessage::Contiguous { address, .. } => {
                let end = metadata.base.saturating_add(*address).saturating_add(bytes);
                if end > metadata.file().len() {
                    return Err(Error::data_invalid(format!(
                        "data of {bytes} bytes at {address} pass the end of the file ({} bytes); \
                         is it cut short?",
                        metadata.file().len()
                    )));
                }
                Place::Contiguous(Some(*address))
            }
            DataLayoutMessage::Virtual { .. } => {
                return Err(Error::unsupported("a virtual dataset; read the files it refers to"));
            }
            _ => {
                let pipeline = Pipeline::new(filters, element.bytes())?;
                let shapes = Shapes {
                    shape: &shapes.shape,
                    max_shape: &shapes.max_shape,
                    stored_ndim,
                    chunk_shape: &chunk_shape,
                    chunk_bytes: chunk_bytes_of(&chunk_shape, element.bytes())?,
                    filtered: !pipeline.is_empty(),
                };
                chunked(metadata, &layout, &shapes, pipeline)?
            }
        };
        let chunk_shape = match place {
            Place::Contiguous(_) => {
                let fitting = RUN_BYTES / (element.bytes() as u64).max(1);
                chunks_of(&shape, fitting.clamp(1, RUN_ELEMENTS))
            }
            _ => chunk_shape,
        };
        let meta = ArrayMeta {
            dims: (0..shape.len()).map(|axis| default_dim(axis, shape.len())).collect(),
            data_type: element.arrow(),
            nullable: false,
            chunk_shape,
            shape,
        };
        let stored = Stored {
            file: Arc::clone(metadata.file()),
            base: metadata.base,
            grid: meta.grid(),
            element_bytes: element.bytes(),
            fill: if fill.iter().any(|byte| *byte != 0) { fill } else { vec![] },
            element_axes: meta.shape.len() - stored_ndim,
            place,
        };
        let location = format!("{location}:{name}");
        Ok(Self { meta, element, stored: Arc::new(stored), location })
    }

    /// Whether a dataset is a single value, or nothing.
    ///
    /// # Errors
    /// `DataInvalid`, `Unreachable`.
    pub fn is_single(object: &Object, metadata: &mut Metadata) -> Result<bool> {
        let body = wanted(object, MSG_DATASPACE, "shape", metadata)?;
        let space = DataspaceMessage::decode(&body, &metadata.context);
        Ok(space.map_err(|cause| metadata.failed(cause))?.0.class != DataspaceClass::Simple)
    }

    /// Gives the dimensions other names.
    ///
    /// # Errors
    /// `Plan` if their number is not the number of axes.
    pub fn rename_dims(&mut self, dims: Vec<String>) -> Result<()> {
        if dims.len() != self.meta.dims.len() {
            return Err(Error::plan(format!(
                "{} names in 'dims' for {} dimensions",
                dims.len(),
                self.meta.dims.len()
            )));
        }
        self.meta.dims = dims;
        Ok(())
    }
}

#[async_trait]
impl ArraySource for Hdf5Array {
    fn meta(&self) -> &ArrayMeta {
        &self.meta
    }

    fn select(&self, fields: &[usize]) -> Option<Arc<dyn ArraySource>> {
        let Element::Record { bytes, fields: all } = &self.element else { return None };
        let chosen = fields.iter().map(|index| all.get(*index).cloned());
        let element = Element::Record { bytes: *bytes, fields: chosen.collect::<Option<_>>()? };
        let meta = ArrayMeta { data_type: element.arrow(), ..self.meta.clone() };
        Some(Arc::new(Self { meta, element, ..self.clone() }))
    }

    fn storage(&self) -> Storage {
        let whole_bytes =
            self.meta.element_count().saturating_mul(self.stored.element_bytes as u64);
        let (layout, compression, stored_bytes) = match &self.stored.place {
            Place::Compact(bytes) => ("compact", String::new(), bytes.len() as u64),
            Place::Contiguous(None) => ("contiguous", String::new(), 0),
            Place::Contiguous(Some(_)) => ("contiguous", String::new(), whole_bytes),
            Place::Chunked { chunks, pipeline, .. } => {
                ("chunked", pipeline.describe(), chunks.stored_bytes(&self.stored.grid))
            }
        };
        Storage {
            stored_type: self.element.numpy(),
            layout: layout.into(),
            compression,
            raw_bytes: whole_bytes,
            stored_bytes: Some(stored_bytes),
        }
    }

    fn location(&self) -> String {
        self.location.clone()
    }

    fn is_remote(&self) -> bool {
        self.stored.file.is_remote()
    }

    async fn open(&self, _: &ReadContext) -> Result<()> {
        Ok(())
    }

    fn reads_more_than(&self, _: &Region) -> bool {
        false
    }

    fn is_uniform(&self, _: &Region) -> bool {
        false
    }

    fn cut_shape(&self) -> Option<Vec<u64>> {
        None
    }

    fn decodes_whole_chunks(&self, _: &Region) -> bool {
        let Place::Chunked { pipeline, .. } = &self.stored.place else { return false };
        !pipeline.is_empty() || pieces::chunk_bytes(&self.stored) <= PLAIN_CHUNK_BYTES_MAX
    }

    fn working_bytes(&self, region: &Region) -> u64 {
        let stored_bytes = self.stored.element_bytes as u64;
        // strings and records are copied into columns of their own
        let width = match self.meta.data_type.primitive_width() {
            Some(width) => width as u64,
            None => stored_bytes.saturating_mul(2).saturating_add(16),
        };
        let elements = region.element_count().saturating_mul(width);
        elements.saturating_add(pieces::scratch_bytes(&self.stored))
    }

    async fn fetch(&self, region: &Region, _: &ReadContext) -> Result<Fetched> {
        if !self.stored.file.is_remote() {
            return Ok(Fetched::default());
        }
        let ranges: Vec<Range<u64>> = pieces::ranges(&self.stored, region)?;
        let found = self.stored.file.fetch(&ranges).await;
        let bytes = found.map_err(|error| error.with("array", &self.location))?;
        Ok(Fetched { bytes, ..Fetched::default() })
    }

    fn decode(&self, region: &Region, fetched: Fetched, context: &ReadContext) -> Result<Block> {
        let place = |error: Error| error.with("array", &self.location);
        let count = region.element_count() as usize;
        let reader = Reader::new(&self.stored, fetched.bytes);
        let bytes = reader.read(region, &context.counters).map_err(place)?;
        let values = super::convert::to_arrow(&self.element, bytes, count).map_err(place)?;
        Block::try_new(region.clone(), values)
    }
}

/// An array's shape and how far it may grow.
struct Extent {
    shape: Vec<u64>,
    max_shape: Vec<u64>,
}

impl Extent {
    fn push(&mut self, length: u64, chunk_shape: &mut Vec<u64>) {
        self.shape.push(length);
        self.max_shape.push(length);
        chunk_shape.push(length);
    }
}

fn shapes_of(space: DataspaceMessage) -> Result<Extent> {
    match space.class {
        DataspaceClass::Null => Err(Error::unsupported("a dataset without elements (null space)")),
        DataspaceClass::Scalar => Ok(Extent { shape: vec![1], max_shape: vec![1] }),
        DataspaceClass::Simple => {
            let max_shape = space.max_dims.unwrap_or_else(|| space.dims.clone());
            if max_shape.len() != space.dims.len() || space.dims.is_empty() {
                return Err(invalid("a shape without axes"));
            }
            Ok(Extent { shape: space.dims, max_shape })
        }
    }
}

fn wanted(object: &Object, kind: u8, what: &str, metadata: &mut Metadata) -> Result<Vec<u8>> {
    let found = object.one(kind, metadata)?;
    found.ok_or_else(|| invalid(format!("the dataset has no {what}")))
}

/// The chunk's shape, or the array's if it has no chunks.
fn chunk_shape_of(layout: &DataLayoutMessage, of: &Extent, element: usize) -> Result<Vec<u64>> {
    let (DataLayoutMessage::ChunkedV3 { chunk_dims, .. }
    | DataLayoutMessage::ChunkedV4 { chunk_dims, .. }) = layout
    else {
        return Ok(of.shape.clone());
    };
    match chunk_dims.split_last() {
        Some((last, lengths))
            if lengths.len() == of.shape.len()
                && *last == element as u64
                && !lengths.contains(&0) =>
        {
            Ok(lengths.to_vec())
        }
        _ => Err(invalid(format!(
            "chunks of {chunk_dims:?} for the shape {:?} of elements of {element} bytes",
            of.shape
        ))),
    }
}

fn filters_of(
    object: &Object,
    element: &Element,
    metadata: &mut Metadata,
) -> Result<Vec<rust_hdf5::Filter>> {
    let Some(body) = object.one(MSG_FILTER_PIPELINE, metadata)? else { return Ok(vec![]) };
    let pipeline = FilterPipeline::decode(&body).map_err(|cause| metadata.failed(cause))?.0;
    Pipeline::new(pipeline.filters.clone(), element.bytes())?;
    Ok(pipeline.filters)
}

fn fill_of(object: &Object, element: usize, metadata: &mut Metadata) -> Result<Vec<u8>> {
    let fill = if let Some(body) = object.one(MSG_FILL_VALUE, metadata)? {
        let fill = FillValueMessage::decode(&body).map_err(|cause| metadata.failed(cause))?.0;
        // What is never filled is undefined; zero, as h5py gives it.
        match fill.fill_write_time {
            FILL_TIME_NEVER => vec![],
            _ => fill.fill_value.unwrap_or_default(),
        }
    } else if let Some(body) = object.one(MSG_FILL_VALUE_OLD, metadata)? {
        let mut fields = Fields(&body);
        let len = fields.number(4)? as usize;
        fields.take(len)?.to_vec()
    } else {
        vec![]
    };
    if fill.is_empty() || fill.len() == element {
        return Ok(fill);
    }
    Err(invalid(format!("a fill value of {} bytes for elements of {element}", fill.len())))
}

fn chunk_bytes_of(chunk_shape: &[u64], element: usize) -> Result<u64> {
    let chunk_bytes = checked_bytes(chunk_shape, element)?;
    if chunk_bytes > CHUNK_BYTES_MAX {
        return Err(Error::exhausted(format!(
            "chunks of {chunk_bytes} bytes; at most {CHUNK_BYTES_MAX} can be held"
        )));
    }
    Ok(chunk_bytes)
}

fn chunked(
    metadata: &mut Metadata,
    layout: &DataLayoutMessage,
    shapes: &Shapes,
    pipeline: Pipeline,
) -> Result<Place> {
    let edges_unfiltered = matches!(layout, DataLayoutMessage::ChunkedV4 { flags, .. }
        if flags & EDGES_UNFILTERED != 0);
    let chunks = index::read(metadata, layout, shapes)?;
    Ok(Place::Chunked { chunks, pipeline, edges_unfiltered })
}

fn checked_bytes(shape: &[u64], element: usize) -> Result<u64> {
    // the other axes count beside one without elements too
    let lengths = || shape.iter().map(|length| (*length).max(1));
    let bytes = lengths().try_fold(element as u64, |bytes, length| bytes.checked_mul(length));
    let bytes = bytes.filter(|bytes| *bytes <= i64::MAX as u64).ok_or_else(|| {
        Error::data_invalid(format!("the shape {shape:?} is larger than any file can be"))
    })?;
    Ok(if shape.contains(&0) { 0 } else { bytes })
}
