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

pub use almagest_engine::{
    AlmagestOptions, Error, ErrorKind, Result, Scheduler, Session, SessionOptions, cores,
};
pub use assemble::{registry, session};
