//! Almagest as a library: one session with every format and function registered.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let session = almagest::session(&almagest::SessionOptions::default())?;
//! let rows = session.sql("SELECT 1 + 1 AS two").await?.collect().await?;
//! assert_eq!(rows[0].num_rows(), 1);
//! # Ok::<(), almagest::Error>(())
//! # }).unwrap();
//! ```

mod assemble;
#[cfg(feature = "cluster")]
pub mod cluster;
#[cfg(feature = "flight")]
pub mod flight;
#[cfg(feature = "cluster")]
mod limits;

pub use almagest_engine::{
    AlmagestOptions, Error, ErrorKind, Result, Scheduler, Session, SessionOptions,
};
pub use assemble::session;

/// Cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}
