//! The Almagest engine: lazy chunked arrays and catalogs behind one SQL entry.
//!
//! A statement enters at [`session`]; [`catalog`] holds tables over [`mod@array`]s; [`exec`] reads
//! their regions; [`registry`] says what formats can be plugged in.
//!
//! This crate knows no file format, no SQL function and no socket.

pub mod array;
pub mod catalog;
pub mod error;
pub mod exec;
pub mod registry;
pub mod rewrite;
pub mod session;

pub use error::{Error, ErrorKind, Result};
pub use session::{Session, SessionOptions};
