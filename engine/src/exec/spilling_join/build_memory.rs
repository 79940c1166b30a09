//! The memory of hash tables that can do without: a part of the pool, so that sorts find room.

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

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

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
