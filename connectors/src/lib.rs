//! File formats for the engine: one folder a format, one line in [`formats`].
//!
//! Formats know nothing of each other, of SQL functions or of the terminal.

pub mod hdf5;

use std::sync::Arc;

use almagest_engine::registry::Format;

/// Every format that Almagest adds to DataFusion's own.
pub fn formats() -> Vec<Arc<dyn Format>> {
    vec![Arc::new(hdf5::Hdf5)]
}
