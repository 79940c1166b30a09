//! The memory of hash tables that can do without: a part of the pool, so that sorts find room. And that of
//! the sorts which take over, whose merges may use what other sorts must leave.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// The eighths of a pool that the hash tables of a query may hold together. Of what is left, a quarter is
/// out of reach of sorts (`HeadroomPool`); an eighth lets those sort that do not fit.
const EIGHTHS: usize = 5;

/// A pool that takes from another as long as all hash tables of a query hold less than their part.
#[derive(Debug)]
pub struct BuildMemory {
    pool: Arc<dyn MemoryPool>,
    held: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl BuildMemory {
    /// A part of `pool`, which has `pool_bytes`; `held` counts what all hash tables hold.
    pub fn new(pool: Arc<dyn MemoryPool>, held: Arc<AtomicUsize>, pool_bytes: usize) -> Self {
        Self { pool, held, bytes_max: pool_bytes / 8 * EIGHTHS }
    }
}

impl fmt::Display for BuildMemory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "hash tables of at most {} bytes", self.bytes_max)
    }
}

impl MemoryPool for BuildMemory {
    fn name(&self) -> &'static str {
        "hash tables"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.pool.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.pool.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.held.fetch_add(additional, Ordering::Relaxed);
        self.pool.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.pool.shrink(reservation, shrink);
        self.held.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        let held = self.held.fetch_add(additional, Ordering::Relaxed);
        let grown = if held.saturating_add(additional) > self.bytes_max {
            Err(resources_datafusion_err!(
                "the hash tables of joins hold {held} bytes and want {additional} more, of {}",
                self.bytes_max
            ))
        } else {
            self.pool.try_grow(reservation, additional)
        };
        if grown.is_err() {
            self.held.fetch_sub(additional, Ordering::Relaxed);
        }
        grown
    }

    fn reserved(&self) -> usize {
        self.pool.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.pool.memory_limit()
    }
}

/// A pool that lets the merges of sorts have what is out of reach of other sorts (`HeadroomPool`): two sorts
/// of a join may take all the rest, and a merge that finds nothing ends the query.
#[derive(Debug)]
pub struct SortMemory {
    pool: Arc<dyn MemoryPool>,
    bytes_max: usize,
}

impl SortMemory {
    /// All of `pool`, which has `pool_bytes`, but for an eighth.
    pub fn new(pool: Arc<dyn MemoryPool>, pool_bytes: usize) -> Self {
        Self { pool, bytes_max: pool_bytes - pool_bytes / 8 }
    }
}

impl fmt::Display for SortMemory {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "sorts of at most {} bytes", self.bytes_max)
    }
}

impl MemoryPool for SortMemory {
    fn name(&self) -> &'static str {
        "sorts of a join"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.pool.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.pool.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.pool.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.pool.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        let refused = match self.pool.try_grow(reservation, additional) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let fits = self.pool.reserved().saturating_add(additional) <= self.bytes_max;
        if reservation.consumer().can_spill() || !fits {
            return Err(refused);
        }
        self.pool.grow(reservation, additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.pool.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.pool.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;
    use crate::exec::HeadroomPool;

    #[test]
    fn merges_of_these_sorts_reach_what_others_must_leave() {
        let pool: Arc<dyn MemoryPool> = Arc::new(HeadroomPool::new(800));
        let memory: Arc<dyn MemoryPool> = Arc::new(SortMemory::new(Arc::clone(&pool), 800));
        let sort = MemoryConsumer::new("ExternalSorter[0]").with_can_spill(true).register(&memory);
        let merge = MemoryConsumer::new("ExternalSorterMerge[0]").register(&memory);
        sort.try_grow(600).unwrap();
        assert!(sort.try_grow(1).is_err());
        merge.try_grow(100).unwrap();
        assert!(merge.try_grow(1).is_err());
        drop((sort, merge));
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn all_tables_together_hold_five_eighths() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(80));
        let held = Arc::new(AtomicUsize::new(0));
        let part = |()| {
            let memory = BuildMemory::new(Arc::clone(&pool), Arc::clone(&held), 80);
            MemoryConsumer::new("HashJoinInput").register(&(Arc::new(memory) as _))
        };
        let [one, two] = [(); 2].map(part);
        one.try_grow(30).unwrap();
        assert!(two.try_grow(21).is_err());
        two.try_grow(20).unwrap();
        assert_eq!((held.load(Ordering::Relaxed), pool.reserved()), (50, 50));
        drop(one);
        two.try_grow(30).unwrap();
        drop(two);
        assert_eq!((held.load(Ordering::Relaxed), pool.reserved()), (0, 0));
    }
}
