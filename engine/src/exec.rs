//! Physical operators: reading arrays, as rows or as partial states of aggregates.

mod array_exec;
mod array_scan;
pub mod progress;
mod read_box;
pub mod reduce;

pub use array_exec::{ArrayExec, ComputeThreads};
pub use array_scan::{ArrayColumn, ArrayScan, Inputs, Output, Predicate};
