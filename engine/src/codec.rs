//! Plans over arrays as bytes, for processes on other machines.
//!
//! [`LogicalCodec`] writes the tables of a logical plan, [`PhysicalCodec`] the operators of a physical
//! one, both beside a codec that writes the rest. What is written of a lazy array is
//! how it was made ([`crate::catalog::Recorded`]), never its elements, except for those that are
//! nowhere but in memory.

mod empty_relations;
mod logical;
mod messages;
mod physical;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use empty_relations::keep_columns;
pub use logical::LogicalCodec;
pub use physical::PhysicalCodec;

/// Bytes of a table or an array in memory that are sent with a plan.
const MEMORY_BYTES_MAX: usize = 64 << 20;
