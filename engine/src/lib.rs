//! The Almagest engine: lazy chunked arrays and catalogs behind one SQL entry.
//!
//! A statement enters at [`session`], is made plannable by [`sql`] and planned on threads of [`planning`]; [`files`] are tables of
//! DataFusion's formats; [`catalog`] holds tables over [`mod@array`]s; [`exec`] reads
//! their regions, in plans of [`local_planner`]; [`mod@write`] lets many processes write one folder; [`codec`] writes plans for other
//! processes; [`registry`] says what can be plugged in; [`admission`] says which queries run, and which wait.
//!
//! This crate knows no file format of arrays, no socket, and none of the functions that `udfs` adds.

pub mod admission;
pub mod array;
pub mod bounds;
pub mod catalog;
pub mod codec;
pub mod config;
pub mod error;
pub mod exec;
pub mod files;
mod floats_by_value;
pub mod formats;
pub mod local_planner;
pub mod opaque;
pub mod planned_table;
pub mod planning;
pub mod registry;
pub mod rewrite;
pub mod session;
pub mod sql;
pub mod stacks;
mod vectorised;
pub mod walk;
pub mod write;

pub use config::{AlmagestOptions, Scheduler};
pub use error::{Error, ErrorKind, Result};
pub use opaque::Opaque;
pub use session::{Session, SessionOptions};
pub use vectorised::vectorised;

/// Cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}
