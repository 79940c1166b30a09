//! The memory of a session or a query, of which sorts leave a part to what merges them.
//!
//! A sort takes what it can get and then spills. What stands above it cannot spill: a merge of the
//! threads' sorted rows that comes last finds nothing left in DataFusion's fair pool, and the query
//! fails, more often with more memory than with less. Here the last quarter is out of reach of sorts.

use std::fmt;

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use parking_lot::Mutex;

/// The part that is left to others than sorts: one of so many.
const HEADROOM: usize = 4;
/// What DataFusion calls a sort's merge of its own spilled runs. It cannot spill, and makes do with
/// what it gets.
const MERGE_OF_A_SORT: &str = "ExternalSorterMerge";

/// A pool that gives equal shares to what spills, and its last quarter to nothing that does.
#[derive(Debug)]
pub struct HeadroomPool {
    bytes_max: usize,
    fair: FairSpillPool,
    /// Held while it is compared what there is with what is wanted.
    turn: Mutex<()>,
}

impl HeadroomPool {
    /// A pool of so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        let fair = FairSpillPool::new(bytes_max - bytes_max / HEADROOM);
        Self { bytes_max, fair, turn: Mutex::new(()) }
    }
}

impl fmt::Display for HeadroomPool {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "pool of {} bytes", self.bytes_max)
    }
}

impl MemoryPool for HeadroomPool {
    fn name(&self) -> &'static str {
        "headroom"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.fair.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.fair.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.fair.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.fair.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        let _turn = self.turn.lock();
        let consumer = reservation.consumer();
        if consumer.can_spill() || consumer.name().starts_with(MERGE_OF_A_SORT) {
            return self.fair.try_grow(reservation, additional);
        }
        let left = self.bytes_max.saturating_sub(self.fair.reserved());
        if additional > left {
            return Err(resources_datafusion_err!(
                "{} holds {} bytes and wants {additional} more, and {left} of {} are left",
                consumer.name(),
                reservation.size(),
                self.bytes_max
            ));
        }
        self.fair.grow(reservation, additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.fair.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn sorts_leave_a_quarter_to_what_cannot_spill() {
        let pool: Arc<dyn MemoryPool> = Arc::new(HeadroomPool::new(100));
        let sort = MemoryConsumer::new("ExternalSorter[0]").with_can_spill(true).register(&pool);
        let merge = MemoryConsumer::new("ExternalSorterMerge[0]").register(&pool);
        sort.try_grow(60).unwrap();
        assert!(sort.try_grow(16).is_err());
        assert!(merge.try_grow(16).is_err());
        merge.try_grow(15).unwrap();
        let above = MemoryConsumer::new("SortPreservingMergeExec[0]").register(&pool);
        above.try_grow(25).unwrap();
        let error = above.try_grow(1).unwrap_err().to_string();
        assert!(
            error.contains("holds 25 bytes and wants 1 more, and 0 of 100 are left"),
            "{error}"
        );
        drop((sort, merge));
        above.try_grow(75).unwrap();
        drop(above);
        assert_eq!(pool.reserved(), 0);
    }
}
