//! Lazy chunked arrays: what they are, where their chunks lie, and how a region of one is read.
//!
//! In: a source that fetches and decodes. Out: [`Block`]s of [`Region`]s. Not here: tables over
//! arrays ([`crate::catalog`]), concurrency, caching and memory (`exec`).

mod arguments;
mod attribute;
mod block;
mod boundary;
mod chunk_cache;
mod concat;
mod context;
#[cfg(test)]
mod counted_array;
mod crop;
mod definition;
mod expression;
mod function;
mod grid;
mod join;
mod lambda;
mod memory;
mod promotion;
mod region;
mod source;
mod stack;
mod window;

pub use arguments::{Arguments, Nested, comparable};
pub use attribute::{Attribute, AttributeValue};
pub use block::{Block, copy_box};
pub use boundary::Boundary;
pub use chunk_cache::ChunkCache;
pub use concat::{concat, is_countable};
pub use context::ReadContext;
#[cfg(test)]
pub(crate) use counted_array::{CountedArray, ELEMENT_BYTES, Fetches};
pub use crop::crop;
pub use definition::{ArrayDefinition, LAMBDA};
pub use expression::{Operand, Operands, dimension_values, expression_array};
pub use function::{ArrayFunction, Derived};
pub use grid::{Grid, unravel};
pub use join::joined;
pub use lambda::{ArrayLambda, list_type};
pub use memory::{MemoryArray, chunks_of};
pub use promotion::promoted_type;
pub use region::Region;
pub use source::{ArrayMeta, ArraySource, Fetched, ReadCounters, Storage};
pub use stack::stack;
pub use window::{Placed, Window};

/// The name of an axis that nothing names: `x`, `y`, `z` from the last one on, `d0`, `d1`, … before.
pub fn default_dim(axis: usize, ndim: usize) -> String {
    match ndim - axis {
        1 => "x".into(),
        2 => "y".into(),
        3 => "z".into(),
        _ => format!("d{axis}"),
    }
}

/// The greatest number of dimensions an array may have.
pub const DIMENSIONS_MAX: usize = 8;
