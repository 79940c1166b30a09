//! Collects the cells of an array, which come as rows in any order, into whole chunks.
//!
//! In: record batches with a column for each dimension and for each value, from many threads. Out:
//! chunks, each given once to a [`ChunkTarget`]. What comes twice, has no place or is NULL where
//! that means nothing is an error that names the cell. Open chunks count in the session's memory;
//! those that do not fit go to its folder for spilling and are finished from there. Not counted: for
//! each thread, the chunk that it writes. Not here: how rows become runs of cells ([`rows`]), one
//! chunk ([`chunk`]), the file that takes what does not fit ([`spill`]), formats.

mod chunk;
mod layout;
mod rows;
mod spill;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use almagest_engine::{Error, Result};
use arrow::array::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::physical_plan::metrics::Count;
use parking_lot::Mutex;

pub use chunk::Chunk;
pub use layout::{Dimension, Layout, Value, array_bytes, cell_name};

use crate::partial_file::Remover;
use chunk::Marked;
use rows::{Place, Rows};
use spill::SpillSlots;

/// Open chunks take up to this part of a session's memory limit: what reads the rows cannot spill, and
/// the pool gives a consumer that can all that is left at the moment.
const MEMORY_SHARE: usize = 2;

/// What takes finished chunks. Dropped before [`Self::finish`], it leaves nothing behind.
pub trait ChunkTarget: Send + Sync {
    /// Whether chunks can be taken only after the shape of the array is known.
    fn needs_shape(&self) -> bool;

    /// What removes the unfinished file when it is dropped.
    fn remover(&self) -> Remover;

    /// Says what the shape of the array is, and of its chunks from now on.
    ///
    /// # Errors
    /// `Plan` for a shape that the format does not have.
    fn set_shape(&mut self, shape: &[u64], chunk_shape: &[u64]) -> Result<()>;

    /// Takes the chunk whose first cell is `start`: for each value its elements, a whole chunk in
    /// row-major order also at the far edges of the array.
    ///
    /// # Errors
    /// `Unreachable`, `Exhausted`.
    fn write(&self, start: &[u64], values: &[Vec<u8>]) -> Result<()>;

    /// Ends the file. Chunks that were not written hold the fill values.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn finish(self: Box<Self>) -> Result<()>;
}

/// The cells of an array that is being written.
pub struct Cells {
    layout: Arc<Layout>,
    target: Box<dyn ChunkTarget>,
    /// Chunks are given away as soon as they are whole.
    early: bool,
    shelf: Mutex<Shelf>,
    memory: MemoryReservation,
    memory_bytes_max: usize,
    spill: SpillSlots,
    spilled_bytes: Count,
    /// Counts uses of chunks, so that the one that rests longest is known.
    clock: AtomicU64,
    /// The largest indices so far, if the shape is not known.
    largest: Mutex<Vec<i64>>,
}

/// The chunks of which a cell has come.
#[derive(Default)]
struct Shelf {
    resident: HashMap<Box<[u64]>, Arc<Chunk>>,
    spilled: HashMap<Box<[u64]>, Arc<Chunk>>,
    written: HashSet<Box<[u64]>>,
}

impl Shelf {
    fn open(&self, start: &[u64]) -> Option<&Arc<Chunk>> {
        self.resident.get(start).or_else(|| self.spilled.get(start))
    }
}

impl Cells {
    /// No cells yet, of an array that goes to `target`. Bytes of chunks that leave memory are added
    /// to `spilled_bytes`.
    ///
    /// # Errors
    /// `Plan` if the target does not have the shape of `layout`.
    pub fn begin(
        layout: Arc<Layout>,
        mut target: Box<dyn ChunkTarget>,
        context: &TaskContext,
        spilled_bytes: Count,
    ) -> Result<Self> {
        if let Some(shape) = &layout.shape {
            target.set_shape(shape, &layout.chunk_shape)?;
        }
        let memory_bytes_max = match context.memory_pool().memory_limit() {
            MemoryLimit::Finite(bytes) => bytes / MEMORY_SHARE,
            _ => usize::MAX,
        };
        let consumer = MemoryConsumer::new("COPY of an array").with_can_spill(true);
        let slot_bytes = chunk::chunk_bytes(&layout) as u64;
        Ok(Self {
            early: layout.shape.is_some() || !target.needs_shape(),
            target,
            shelf: Mutex::default(),
            memory: consumer.register(context.memory_pool()),
            memory_bytes_max,
            spill: SpillSlots::new(Arc::clone(&context.runtime_env().disk_manager), slot_bytes),
            spilled_bytes,
            clock: AtomicU64::new(0),
            largest: Mutex::new(vec![-1; layout.dims.len()]),
            layout,
        })
    }

    /// What removes the unfinished file when it is dropped.
    pub fn remover(&self) -> Remover {
        self.target.remover()
    }

    /// Adds the cells of a batch. Chunks that become whole by it are written.
    ///
    /// # Errors
    /// `Plan` for rows that are no cell or one that is already there; those of the target.
    pub fn add(&self, batch: &RecordBatch) -> Result<()> {
        let rows = Rows::try_new(&self.layout, batch)?;
        if self.layout.shape.is_none() {
            rows.raise(&mut self.largest.lock());
        }
        let mut place = Place::default();
        let mut row = 0;
        while row < rows.count() {
            rows.locate(row, &self.layout, &mut place)?;
            let chunk = self.open(&place)?;
            row = self.fill(&chunk, &rows, row, &mut place)?;
        }
        Ok(())
    }

    /// The chunks that are not written when all rows have come: [`Self::write_rest`] is to follow
    /// for each of them, then [`Self::end`].
    ///
    /// # Errors
    /// `Plan` if neither rows nor options say how large the array is.
    pub fn rest(&mut self) -> Result<Vec<Arc<Chunk>>> {
        if self.layout.shape.is_none() {
            let shape: Vec<u64> =
                self.largest.get_mut().iter().map(|max| (max + 1) as u64).collect();
            if shape.contains(&0) {
                return Err(Error::plan(
                    "no rows, so the size of the array is unknown; give it with \
                     OPTIONS ('shape' '…')",
                ));
            }
            let cut = self.layout.chunk_shape.iter().zip(&shape);
            let cut: Vec<u64> = cut.map(|(chunk, length)| *chunk.min(length)).collect();
            self.target.set_shape(&shape, &cut)?;
            let layout = Layout { shape: Some(shape), ..self.layout.as_ref().clone() };
            self.layout = Arc::new(layout);
        }
        let shelf = std::mem::take(self.shelf.get_mut());
        let resident = shelf.resident.into_values();
        Ok(resident.chain(shelf.spilled.into_values()).collect())
    }

    /// Writes one chunk of [`Self::rest`].
    ///
    /// # Errors
    /// Those of the target and of reading what was spilled.
    pub fn write_rest(&self, chunk: &Chunk) -> Result<()> {
        let Some((values, bytes)) = chunk.take(&self.layout, &self.spill)? else { return Ok(()) };
        let written = self.target.write(&chunk.start, &self.layout.cut(values));
        self.memory.shrink(bytes);
        written
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Those of the target.
    pub fn end(self) -> Result<()> {
        self.target.finish()
    }

    /// The chunk at `place`, made if there is none.
    fn open(&self, place: &Place) -> Result<Arc<Chunk>> {
        let start = place.start.as_slice();
        {
            let shelf = self.shelf.lock();
            if let Some(chunk) = shelf.open(start) {
                return Ok(Arc::clone(chunk));
            }
            if shelf.written.contains(start) {
                return Err(self.twice(start, place.offset));
            }
        }
        let bytes = chunk::chunk_bytes(&self.layout);
        let resident = self.make_room(bytes)?;
        let chunk = Chunk::new(start, &self.layout, bytes);
        if !resident {
            self.spill(&chunk)?;
        }
        let chunk = Arc::new(chunk);
        let mut shelf = self.shelf.lock();
        let other = shelf.open(start).map(Arc::clone);
        if other.is_some() || shelf.written.contains(start) {
            // Another thread was faster.
            drop(shelf);
            if resident {
                self.memory.shrink(bytes);
            }
            return other.ok_or_else(|| self.twice(start, place.offset));
        }
        let chunks = if resident { &mut shelf.resident } else { &mut shelf.spilled };
        chunks.insert(start.into(), Arc::clone(&chunk));
        Ok(chunk)
    }

    /// Takes memory for a chunk, if need be that of others. False: there is none.
    fn make_room(&self, bytes: usize) -> Result<bool> {
        let fits = || self.memory.size().saturating_add(bytes) <= self.memory_bytes_max;
        while !fits() || self.memory.try_grow(bytes).is_err() {
            let victim = {
                let mut shelf = self.shelf.lock();
                let resting = shelf.resident.values().min_by_key(|chunk| chunk.used_at());
                let Some(start) = resting.map(|chunk| chunk.start.clone()) else {
                    return Ok(false);
                };
                let chunk = shelf.resident.remove(&start);
                chunk.inspect(|chunk| _ = shelf.spilled.insert(start, Arc::clone(chunk)))
            };
            if let Some(victim) = victim {
                self.memory.shrink(self.spill(&victim)?);
            }
        }
        Ok(true)
    }

    /// Moves a chunk out of memory. Gives the bytes that were counted for it.
    fn spill(&self, chunk: &Chunk) -> Result<usize> {
        let bytes = chunk.spill(&self.spill)?;
        self.spilled_bytes.add(bytes);
        Ok(bytes)
    }

    /// Puts rows from `row` on into the chunk, as long as they belong to it. Gives the next row.
    fn fill(&self, chunk: &Chunk, rows: &Rows, mut row: usize, place: &mut Place) -> Result<usize> {
        let mut body = chunk.lock();
        chunk.use_at(self.clock.fetch_add(1, Ordering::Relaxed));
        loop {
            let count = rows.run(row, place.room);
            let values = rows.values(row, count);
            match body.put(place.offset, count, values, &self.spill)? {
                Marked::New => {}
                Marked::Twice(offset) => return Err(self.twice(&chunk.start, offset)),
            }
            row += count;
            if row == rows.count() {
                break;
            }
            rows.locate(row, &self.layout, place)?;
            if place.start[..] != chunk.start[..] {
                break;
            }
        }
        let whole = self.early && body.is_whole();
        drop(body);
        if whole {
            self.write_whole(chunk)?;
        }
        Ok(row)
    }

    fn write_whole(&self, chunk: &Chunk) -> Result<()> {
        {
            let mut shelf = self.shelf.lock();
            if !shelf.written.insert(chunk.start.clone()) {
                return Ok(());
            }
            shelf.resident.remove(&chunk.start);
            shelf.spilled.remove(&chunk.start);
        }
        if let Some((values, bytes)) = chunk.take(&self.layout, &self.spill)? {
            let written = self.target.write(&chunk.start, &values);
            self.memory.shrink(bytes);
            return written;
        }
        Ok(())
    }

    fn twice(&self, start: &[u64], offset: usize) -> Error {
        let cell = self.layout.cell_at(start, offset);
        Error::plan(format!(
            "{} comes twice; each cell may come once: group the rows by their dimensions first",
            cell_name(&self.layout.dims, &cell)
        ))
    }
}
