//! An array for tests, whose every answer differs from that of an array in memory.
//!
//! It stands for a stored array that is remote, takes more memory than its elements do, and counts
//! how many of its fetches are under way at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::{ArrayMeta, ArraySource, Block, Fetched, MemoryArray, ReadContext, Region, Storage};
use crate::Result;

/// Bytes that an element takes while it is decoded.
pub const ELEMENT_BYTES: u64 = 1000;

/// Fetches that are under way, and the most there ever were.
#[derive(Debug, Default)]
pub struct Fetches {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Fetches {
    /// The most fetches that were under way at once.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    async fn pass(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        // whoever fetches at the same time comes by meanwhile
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The array.
#[derive(Debug)]
pub struct CountedArray {
    array: Arc<MemoryArray>,
    fetches: Arc<Fetches>,
}

impl CountedArray {
    /// An array of these elements, whose fetches are counted with those of others.
    pub fn new(array: Arc<MemoryArray>, fetches: &Arc<Fetches>) -> Self {
        Self { array, fetches: Arc::clone(fetches) }
    }
}

#[async_trait]
impl ArraySource for CountedArray {
    fn meta(&self) -> &ArrayMeta {
        self.array.meta()
    }

    fn select(&self, _: &[usize]) -> Option<Arc<dyn ArraySource>> {
        None
    }

    fn storage(&self) -> Storage {
        Storage { layout: "remote".into(), ..self.array.storage() }
    }

    fn location(&self) -> String {
        "somewhere else".into()
    }

    async fn open(&self, _: &ReadContext) -> Result<()> {
        Ok(())
    }

    async fn fetch(&self, _: &Region, _: &ReadContext) -> Result<Fetched> {
        self.fetches.pass().await;
        Ok(Fetched::default())
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn decodes_whole_chunks(&self, _: &Region) -> bool {
        true
    }

    fn reads_more_than(&self, _: &Region) -> bool {
        true
    }

    fn is_uniform(&self, _: &Region) -> bool {
        true
    }

    fn cut_shape(&self) -> Option<Vec<u64>> {
        Some(vec![1; self.meta().shape.len()])
    }

    fn working_bytes(&self, region: &Region) -> u64 {
        region.element_count().saturating_mul(ELEMENT_BYTES)
    }

    fn decode(&self, region: &Region, fetched: Fetched, context: &ReadContext) -> Result<Block> {
        self.array.decode(region, fetched, context)
    }
}
