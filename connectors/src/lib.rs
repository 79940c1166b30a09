//! File formats for the engine: one folder a format, one line in [`formats`].
//!
//! Formats know nothing of each other, of SQL functions or of the terminal.

pub mod hdf5;
mod store;

use std::sync::Arc;

use almagest_engine::registry::{Format, Stores};

/// Every format that Almagest adds to DataFusion's own.
pub fn formats() -> Vec<Arc<dyn Format>> {
    vec![Arc::new(hdf5::Hdf5)]
}

/// Local files, S3, Google Cloud Storage, Azure and HTTP: all that a session's queries can reach.
pub fn stores() -> Arc<dyn Stores> {
    Arc::new(store::RemoteStores::default())
}
