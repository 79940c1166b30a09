//! Lazy chunked arrays: what they are, where their chunks lie, and how a region of one is read.
//!
//! In: a source that fetches and decodes. Out: [`Block`]s of [`Region`]s. Not here: tables over
//! arrays ([`crate::catalog`]), concurrency, caching and memory (`exec`).

mod block;
mod grid;
mod memory;
mod region;
mod source;

pub use block::{Block, copy_box};
pub use grid::{Grid, unravel};
pub use memory::{MemoryArray, chunks_of};
pub use region::Region;
pub use source::{ArrayMeta, ArraySource, Fetched, ReadCounters, Storage};

/// The greatest number of dimensions an array may have.
pub const DIMENSIONS_MAX: usize = 8;
