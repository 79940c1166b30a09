//! Lazy chunked arrays: what they are, where their chunks lie, and how a region of one is read.
//!
//! In: a source that fetches and decodes. Out: [`Block`]s of [`Region`]s. Not here: tables over
//! arrays ([`crate::catalog`]), concurrency, caching and memory (`exec`).

mod arguments;
mod block;
mod boundary;
mod chunk_cache;
mod context;
mod definition;
mod expression;
mod function;
mod grid;
mod lambda;
mod memory;
mod region;
mod source;
mod window;

pub use arguments::{Arguments, Nested};
pub use block::{Block, copy_box};
pub use boundary::Boundary;
pub use chunk_cache::ChunkCache;
pub use context::ReadContext;
pub use definition::{ArrayDefinition, LAMBDA};
pub use expression::{Operand, Operands, dimension_values, expression_array};
pub use function::{ArrayFunction, Derived};
pub use grid::{Grid, unravel};
pub use lambda::{ArrayLambda, list_type};
pub use memory::{MemoryArray, chunks_of};
pub use region::Region;
pub use source::{ArrayMeta, ArraySource, Fetched, ReadCounters, Storage};
pub use window::{Placed, Window};

/// The greatest number of dimensions an array may have.
pub const DIMENSIONS_MAX: usize = 8;
