//! Physical execution over arrays. Not here: what to read, which logical planning decides.

mod array_exec;
pub mod progress;

pub use array_exec::{ArrayColumn, ArrayExec, ArrayScan};
