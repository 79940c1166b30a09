//! Decoded chunks that several boxes of a query read, each decoded once.
//!
//! In: a region of a stored array whose chunks can only be decoded whole. Out: its elements. The
//! cache holds at most a number of bytes, which are counted in DataFusion's memory pool, and gives
//! up the chunk that was not used for longest; where the pool has no room it holds nothing. A chunk
//! that is being decoded is waited for, not decoded again.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use datafusion::execution::memory_pool::MemoryReservation;
use futures::future::{BoxFuture, ready};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use super::context::FETCHES_AT_ONCE;
use super::join::joined;
use super::{ArraySource, Block, Fetched, ReadContext, Region};
use crate::{Error, Result};

/// A cache of decoded chunks.
#[derive(Debug)]
pub struct ChunkCache {
    bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    slots: HashMap<Key, Slot>,
    memory: MemoryReservation,
    /// Counts reads, to tell which chunk was used last.
    clock: u64,
}

/// The address of the source, which a slot keeps alive, and the chunk's ordinal.
type Key = (usize, u64);

/// A chunk, once it is decoded.
type Chunk = Arc<OnceLock<Result<Block, Arc<Error>>>>;

#[derive(Debug)]
struct Slot {
    chunk: Chunk,
    bytes: usize,
    used: u64,
    _source: Arc<dyn ArraySource>,
}

impl ChunkCache {
    /// A cache of at most `bytes_max` bytes, taken from `memory`.
    pub fn new(bytes_max: usize, memory: MemoryReservation) -> Self {
        let held = Held { slots: HashMap::new(), memory, clock: 0 };
        Self { bytes_max, held: Mutex::new(held) }
    }

    /// Brings the stored bytes of the chunks under `region` that are not held, several at once.
    pub(super) async fn fetch(
        &self,
        source: &Arc<dyn ArraySource>,
        region: &Region,
        context: &ReadContext,
    ) -> Result<Fetched> {
        let grid = source.meta().grid();
        let chunks: Vec<_> = grid.chunks_touching(region).collect();
        let fetches: Vec<BoxFuture<'_, Result<Fetched>>> = chunks
            .iter()
            .map(|(ordinal, chunk)| match self.ready(source, *ordinal) {
                Some(block) => {
                    ready(Ok(Fetched { block: Some(block), ..Fetched::default() })).boxed()
                }
                None => source.fetch(chunk, context),
            })
            .collect();
        let parts = stream::iter(fetches).buffered(FETCHES_AT_ONCE).try_collect().await?;
        Ok(Fetched { parts, ..Fetched::default() })
    }

    /// The elements of `region`, from chunks that are held or decoded now.
    pub(super) fn read(
        &self,
        source: &Arc<dyn ArraySource>,
        region: &Region,
        fetched: Fetched,
        context: &ReadContext,
    ) -> Result<Block> {
        let grid = source.meta().grid();
        let mut fetched = fetched.parts.into_iter();
        let mut blocks = vec![];
        for (ordinal, chunk) in grid.chunks_touching(region) {
            let fetched = fetched.next().unwrap_or_default();
            blocks.push(self.chunk(source, ordinal, &chunk, fetched, context)?);
        }
        joined(&blocks, region)
    }

    fn ready(&self, source: &Arc<dyn ArraySource>, ordinal: u64) -> Option<Block> {
        let held = self.held.lock();
        let slot = held.slots.get(&(address(source), ordinal))?;
        slot.chunk.get().and_then(|chunk| chunk.as_ref().ok()).cloned()
    }

    fn chunk(
        &self,
        source: &Arc<dyn ArraySource>,
        ordinal: u64,
        region: &Region,
        fetched: Fetched,
        context: &ReadContext,
    ) -> Result<Block> {
        if let Some(block) = fetched.block {
            context.counters.hit();
            return Ok(block);
        }
        let Some(chunk) = self.slot(source, ordinal, region) else {
            return source.decode(region, fetched, context);
        };
        let mut decoded = false;
        let block = chunk.get_or_init(|| {
            decoded = true;
            source.decode(region, fetched, context).map_err(Arc::new)
        });
        if !decoded {
            context.counters.hit();
        }
        block.clone().map_err(|error| error.copy())
    }

    /// Where a chunk is held, or room for it; `None` if there is no room.
    fn slot(&self, source: &Arc<dyn ArraySource>, ordinal: u64, region: &Region) -> Option<Chunk> {
        let key = (address(source), ordinal);
        let mut held = self.held.lock();
        held.clock += 1;
        let now = held.clock;
        if let Some(slot) = held.slots.get_mut(&key) {
            slot.used = now;
            return Some(Arc::clone(&slot.chunk));
        }
        let width = source.meta().data_type.primitive_width()?;
        let bytes = usize::try_from(region.element_count()).ok()?.checked_mul(width)?;
        while held.memory.size() + bytes > self.bytes_max || held.memory.try_grow(bytes).is_err() {
            let oldest =
                held.slots.iter().min_by_key(|(_, slot)| slot.used).map(|(key, _)| *key)?;
            let freed = held.slots.remove(&oldest)?.bytes;
            held.memory.shrink(freed);
        }
        let chunk = Arc::new(OnceLock::new());
        let slot =
            Slot { chunk: Arc::clone(&chunk), bytes, used: now, _source: Arc::clone(source) };
        held.slots.insert(key, slot);
        Some(chunk)
    }
}

fn address(source: &Arc<dyn ArraySource>) -> usize {
    Arc::as_ptr(source).cast::<()>() as usize
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
    use datafusion::execution::runtime_env::RuntimeEnv;

    use super::super::{CountedArray, Fetches, MemoryArray};
    use super::*;

    #[tokio::test]
    async fn chunks_are_fetched_at_once() {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..12));
        let array = MemoryArray::try_new(vec!["x".into()], vec![12], values).unwrap();
        let fetches = Arc::new(Fetches::default());
        let array = Arc::new(array.with_chunks(&[2]));
        let array: Arc<dyn ArraySource> = Arc::new(CountedArray::new(array, &fetches));
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let cache = ChunkCache::new(1 << 20, MemoryConsumer::new("chunks").register(&pool));
        let context = ReadContext::new(Some(Arc::new(cache)), Arc::new(RuntimeEnv::default()));
        let fetched = context.fetch(&array, &Region::whole(&[12])).await.unwrap();
        assert_eq!(fetched.parts.len(), 6);
        assert_eq!(fetches.most(), 6);
    }
}
