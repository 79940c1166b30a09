//! One HDF5 dataset as an array source: where its chunks lie, and how a region is read from them.
//!
//! In: a dataset's metadata. Out: blocks, by `pread` and decoding into the destination, without a
//! lock. Guards: an extent, a chunk or a file offset that cannot be true is refused before anything
//! is allocated for it.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use almagest_engine::array::{
    ArrayMeta, ArraySource, Block, Fetched, Grid, ReadCounters, Region, Storage, chunks_of,
    copy_box,
};
use almagest_engine::{Error, Result};
use arrow::array::{ArrayData, make_array};
use arrow::buffer::MutableBuffer;
use hdf5_pure::{Dataset, Layout};

use super::datatype::{ElementType, swap_bytes};
use super::filters::Pipeline;

/// A decoded chunk larger than this is refused.
const CHUNK_BYTES_MAX: u64 = 1 << 30;
/// Elements of a box in which contiguous data are read.
const RUN_ELEMENTS: u64 = 256 * 1024;

/// A dataset.
#[derive(Debug)]
pub struct Hdf5Array {
    meta: ArrayMeta,
    grid: Grid,
    element: ElementType,
    fill: Vec<u8>,
    place: Place,
    file: Arc<File>,
    location: String,
}

/// Where the elements are.
#[derive(Debug)]
enum Place {
    Compact(Vec<u8>),
    /// From this offset on; `None` where nothing was ever written.
    Contiguous(Option<u64>),
    Chunked {
        chunks: HashMap<u64, StoredChunk>,
        pipeline: Pipeline,
    },
}

#[derive(Clone, Copy, Debug)]
struct StoredChunk {
    address: u64,
    stored_bytes: u64,
    filter_mask: u32,
}

impl Hdf5Array {
    /// Reads the metadata of `dataset`, which is `name` in the file at `path`.
    ///
    /// # Errors
    /// `Unsupported` for types, layouts and filters that are not read; `DataInvalid`.
    pub fn open(path: &Path, name: &str, dataset: &Dataset) -> Result<Self> {
        let element = ElementType::of(&dataset.datatype().map_err(invalid)?)?;
        let shape = dataset.shape().map_err(invalid)?;
        if shape.is_empty() {
            return Err(Error::unsupported("a single value, where an array was expected"));
        }
        let bytes = checked_bytes(&shape, element.width())?;
        let file = File::open(path)
            .map_err(|cause| Error::unreachable(format!("cannot open the file: {cause}")))?;
        let file_bytes = file
            .metadata()
            .map_err(|cause| Error::unreachable(format!("cannot read the file's size: {cause}")))?
            .len();
        let (place, chunk_shape) = match dataset.layout().map_err(invalid)? {
            Layout::Compact { .. } => {
                let stored = dataset.read_raw().map_err(invalid)?;
                if stored.len() as u64 != bytes {
                    return Err(Error::data_invalid(format!(
                        "compact data of {} bytes, where the shape {shape:?} needs {bytes}",
                        stored.len()
                    )));
                }
                (Place::Compact(stored), shape.clone())
            }
            Layout::Contiguous { address, .. } => {
                if let Some(address) = address {
                    check_extent(address, bytes, file_bytes)?;
                }
                (Place::Contiguous(address), chunks_of(&shape, RUN_ELEMENTS))
            }
            Layout::Chunked { chunk_shape, .. } => {
                let place = chunked(dataset, &shape, &chunk_shape, element.width(), file_bytes)?;
                (place, chunk_shape)
            }
            Layout::Virtual => {
                return Err(Error::unsupported("a virtual dataset; read the files it refers to"));
            }
            _ => return Err(Error::unsupported("a storage layout of a newer HDF5")),
        };
        let meta = ArrayMeta {
            dims: default_dims(shape.len()),
            data_type: element.arrow.clone(),
            nullable: false,
            chunk_shape,
            shape,
        };
        Ok(Self {
            grid: meta.grid(),
            fill: element.fill_bytes(dataset)?,
            meta,
            element,
            place,
            file: Arc::new(file),
            location: format!("{}:{name}", path.display()),
        })
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

    fn read_at(&self, bytes: &mut [u8], address: u64) -> Result<()> {
        self.file.read_exact_at(bytes, address).map_err(|cause| {
            let end = address.saturating_add(bytes.len() as u64);
            Error::data_invalid(format!("bytes {address}..{end} cannot be read: {cause}"))
                .caused_by(cause)
        })
    }

    /// Reads the rows of a contiguous array that `region` cuts out, run by run.
    fn read_contiguous(
        &self,
        address: u64,
        region: &Region,
        out: &mut [u8],
        counters: &ReadCounters,
    ) -> Result<()> {
        let width = self.element.width();
        let shape = &self.meta.shape;
        let mut axis = shape.len() - 1;
        while axis > 0 && region.shape()[axis] == shape[axis] {
            axis -= 1;
        }
        let run: u64 = region.shape()[axis..].iter().product();
        let outer = &region.shape()[..axis];
        for index in 0..outer.iter().product::<u64>() {
            let position = almagest_engine::array::unravel(index, outer);
            let at = shape.iter().enumerate().fold(0, |sum, (axis, length)| {
                let offset = position.get(axis).copied().unwrap_or(0);
                sum * length + region.start()[axis] + offset
            });
            let to = (index * run) as usize * width;
            let bytes = &mut out[to..to + run as usize * width];
            self.read_at(bytes, address + at * width as u64)?;
        }
        counters.chunk(out.len() as u64, out.len() as u64);
        Ok(())
    }

    fn read_chunk(
        &self,
        stored: StoredChunk,
        pipeline: &Pipeline,
        chunk: &mut [u8],
        counters: &ReadCounters,
    ) -> Result<()> {
        if pipeline.is_empty() {
            if stored.stored_bytes != chunk.len() as u64 {
                return Err(Error::data_invalid(format!(
                    "an unfiltered chunk of {} bytes, where {} were expected",
                    stored.stored_bytes,
                    chunk.len()
                )));
            }
            self.read_at(chunk, stored.address)?;
        } else {
            let mut bytes = vec![0; stored.stored_bytes as usize];
            self.read_at(&mut bytes, stored.address)?;
            pipeline.decode(&bytes, stored.filter_mask, chunk)?;
        }
        counters.chunk(stored.stored_bytes, chunk.len() as u64);
        Ok(())
    }

    fn read_chunks(
        &self,
        chunks: &HashMap<u64, StoredChunk>,
        pipeline: &Pipeline,
        region: &Region,
        out: &mut [u8],
        counters: &ReadCounters,
    ) -> Result<()> {
        let width = self.element.width();
        let full_shape = self.grid.chunk_shape();
        let full_bytes = full_shape.iter().product::<u64>() as usize * width;
        for (ordinal, chunk_region) in self.grid.chunks_touching(region) {
            let Some(wanted) = chunk_region.intersect(region) else { continue };
            let Some(stored) = chunks.get(&ordinal) else { continue };
            let at = |error: Error| error.with("chunk", &chunk_region);
            if region.shape() == full_shape && wanted == *region {
                self.read_chunk(*stored, pipeline, out, counters).map_err(at)?;
                continue;
            }
            let mut chunk = vec![0; full_bytes];
            self.read_chunk(*stored, pipeline, &mut chunk, counters).map_err(at)?;
            let from = wanted.relative_to(chunk_region.start());
            let to = wanted.relative_to(region.start());
            copy_box(&chunk, full_shape, &from, out, region.shape(), &to, width);
        }
        Ok(())
    }
}

impl ArraySource for Hdf5Array {
    fn meta(&self) -> &ArrayMeta {
        &self.meta
    }

    fn storage(&self) -> Storage {
        let (layout, compression, stored_bytes) = match &self.place {
            Place::Compact(bytes) => ("compact", String::new(), bytes.len() as u64),
            Place::Contiguous(None) => ("contiguous", String::new(), 0),
            Place::Contiguous(Some(_)) => {
                let bytes = self.meta.element_count() * self.element.width() as u64;
                ("contiguous", String::new(), bytes)
            }
            Place::Chunked { chunks, pipeline } => {
                let bytes = chunks.values().map(|chunk| chunk.stored_bytes).sum();
                ("chunked", pipeline.describe(), bytes)
            }
        };
        Storage {
            stored_type: self.element.numpy.clone(),
            layout: layout.into(),
            compression,
            stored_bytes: Some(stored_bytes),
        }
    }

    fn location(&self) -> String {
        self.location.clone()
    }

    fn decode(&self, region: &Region, _: Fetched, counters: &ReadCounters) -> Result<Block> {
        let width = self.element.width();
        let count = region.element_count() as usize;
        let mut out = MutableBuffer::from_len_zeroed(count * width);
        let place = |error: Error| error.with("array", &self.location);
        // Absent chunks keep the fill value, laid down in the file's byte order like the rest.
        let all_stored = match &self.place {
            Place::Chunked { chunks, .. } => {
                self.grid.chunks_touching(region).all(|(ordinal, _)| chunks.contains_key(&ordinal))
            }
            Place::Contiguous(address) => address.is_some(),
            Place::Compact(_) => true,
        };
        if !all_stored && self.fill.iter().any(|byte| *byte != 0) {
            let mut fill = self.fill.clone();
            if self.element.swapped {
                fill.reverse();
            }
            out.as_slice_mut().chunks_exact_mut(width).for_each(|to| to.copy_from_slice(&fill));
        }
        match &self.place {
            Place::Compact(bytes) => {
                let to = Region::whole(region.shape());
                copy_box(bytes, &self.meta.shape, region, &mut out, region.shape(), &to, width);
                counters.chunk(0, out.len() as u64);
            }
            Place::Contiguous(None) => {}
            Place::Contiguous(Some(address)) => {
                self.read_contiguous(*address, region, &mut out, counters).map_err(place)?;
            }
            Place::Chunked { chunks, pipeline } => {
                self.read_chunks(chunks, pipeline, region, &mut out, counters).map_err(place)?;
            }
        }
        if self.element.swapped {
            swap_bytes(&mut out, width);
        }
        let data = ArrayData::builder(self.element.arrow.clone())
            .len(count)
            .add_buffer(out.into())
            .build()
            .map_err(|cause| Error::bug("a block is malformed").caused_by(cause))?;
        Block::try_new(region.clone(), make_array(data))
    }
}

fn chunked(
    dataset: &Dataset,
    shape: &[u64],
    chunk_shape: &[u64],
    width: usize,
    file_bytes: u64,
) -> Result<Place> {
    if chunk_shape.len() != shape.len() || chunk_shape.contains(&0) {
        return Err(Error::data_invalid(format!("chunks of {chunk_shape:?} for {shape:?}")));
    }
    let chunk_bytes = checked_bytes(chunk_shape, width)?;
    if chunk_bytes > CHUNK_BYTES_MAX {
        return Err(Error::exhausted(format!(
            "chunks of {chunk_bytes} bytes; at most {CHUNK_BYTES_MAX} can be held"
        )));
    }
    let pipeline = Pipeline::new(&dataset.filter_pipeline())?;
    let grid = Grid::new(shape, chunk_shape);
    let mut chunks = HashMap::new();
    for chunk in dataset.chunks().map_err(invalid)? {
        let position: Vec<u64> =
            chunk.offset.iter().zip(chunk_shape).map(|(offset, length)| offset / length).collect();
        if position.len() != shape.len()
            || position.iter().zip(grid.counts()).any(|(index, count)| index >= count)
        {
            continue; // left behind by a dataset that was made smaller
        }
        check_extent(chunk.address, chunk.storage_size, file_bytes)?;
        let stored = StoredChunk {
            address: chunk.address,
            stored_bytes: chunk.storage_size,
            filter_mask: chunk.filter_mask,
        };
        chunks.insert(grid.ordinal_at(&position), stored);
    }
    Ok(Place::Chunked { chunks, pipeline })
}

fn checked_bytes(shape: &[u64], width: usize) -> Result<u64> {
    let bytes = shape.iter().try_fold(width as u64, |bytes, length| bytes.checked_mul(*length));
    bytes.filter(|bytes| *bytes <= i64::MAX as u64).ok_or_else(|| {
        Error::data_invalid(format!("the shape {shape:?} is larger than any file can be"))
    })
}

fn check_extent(address: u64, bytes: u64, file_bytes: u64) -> Result<()> {
    match address.checked_add(bytes) {
        Some(end) if end <= file_bytes => Ok(()),
        _ => Err(Error::data_invalid(format!(
            "data of {bytes} bytes at {address} pass the end of the file ({file_bytes} bytes); is \
             it cut short?"
        ))),
    }
}

fn invalid(cause: hdf5_pure::Error) -> Error {
    Error::data_invalid(format!("its metadata cannot be read: {cause}")).caused_by(cause)
}

/// `x`, `y`, `z` from the last axis on, and `d0`, `d1`, … before them.
fn default_dims(ndim: usize) -> Vec<String> {
    (0..ndim)
        .map(|axis| match ndim - axis {
            1 => "x".into(),
            2 => "y".into(),
            3 => "z".into(),
            _ => format!("d{axis}"),
        })
        .collect()
}
