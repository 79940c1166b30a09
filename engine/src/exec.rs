//! Physical operators: reading arrays, as rows or as partial states of aggregates.

mod arithmetic;
mod array_exec;
mod array_scan;
mod block_aggregate;
mod compute_threads;
mod descriptors;
mod downsample;
mod float_keys;
mod headroom_pool;
mod local_planner;
mod packed_spills;
mod pieces_exec;
pub mod progress;
mod read_box;
pub mod reduce;
mod spill_quota;
mod spilling_join;
mod stall;
mod unambiguous_filters;
mod uniform;
mod yielding;

pub use array_exec::ArrayExec;
pub use array_scan::{ArrayColumn, ArrayScan, Inputs, Output, Predicate, pruning_of};
pub use block_aggregate::BlockAggregate;
pub use compute_threads::ComputeThreads;
pub use downsample::downsample;
pub(crate) use float_keys::keep_all_groups_of_floats;
pub use headroom_pool::HeadroomPool;
pub use local_planner::{LocalPlanner, with_settings};
pub use packed_spills::PackedSpills;
pub use pieces_exec::{CutLeaves, PiecesExec, compression_of};
pub use spill_quota::SpillQuota;
pub use spilling_join::spilling_joins;
pub use stall::{Pulse, watched};
pub use unambiguous_filters::physical_rules;
pub use yielding::YieldingJoins;
