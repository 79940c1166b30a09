//! The memory of one query: a part of what the server has, bounded.

use std::fmt;
use std::sync::Arc;

use almagest_engine::exec::HeadroomPool;
use datafusion::common::resources_datafusion_err;
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// A pool that takes from another, at most so much, of which all operators that spill get equal shares.
#[derive(Debug)]
pub struct QueryPool {
    shared: Arc<dyn MemoryPool>,
    bytes_max: usize,
    own: HeadroomPool,
}

impl QueryPool {
    /// At most `bytes_max` of `shared`.
    pub fn new(shared: Arc<dyn MemoryPool>, bytes_max: usize) -> Self {
        Self { shared, bytes_max, own: HeadroomPool::new(bytes_max) }
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "query of at most {} bytes", self.bytes_max)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &'static str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
        self.shared.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.shared.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.shared.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        self.own.try_grow(reservation, additional).map_err(|_| {
            resources_datafusion_err!(
                "the query holds {} bytes and wants {additional} more for {}, of the {} that one query \
                 may hold on this server",
                self.own.reserved(),
                reservation.consumer().name(),
                self.bytes_max
            )
        })?;
        let grown = self.shared.try_grow(reservation, additional);
        if grown.is_err() {
            self.own.shrink(reservation, additional);
        }
        grown
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    #[test]
    fn a_query_takes_its_share_and_gives_it_back() {
        let shared: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let pool: Arc<dyn MemoryPool> = Arc::new(QueryPool::new(Arc::clone(&shared), 60));
        let other: Arc<dyn MemoryPool> = Arc::new(QueryPool::new(Arc::clone(&shared), 60));
        let reservation = MemoryConsumer::new("sort").register(&pool);
        reservation.try_grow(50).unwrap();
        let error = reservation.try_grow(11).unwrap_err().to_string();
        assert!(error.contains("one query may hold"), "{error}");
        let elsewhere = MemoryConsumer::new("sort").register(&other);
        // what all may hold together is a limit too, and a refusal takes nothing
        assert!(elsewhere.try_grow(60).is_err());
        elsewhere.try_grow(50).unwrap();
        assert_eq!((pool.reserved(), other.reserved(), shared.reserved()), (50, 50, 100));
        drop((reservation, elsewhere));
        assert_eq!((pool.reserved(), shared.reserved()), (0, 0));
    }
}
