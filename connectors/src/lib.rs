//! File formats for the engine: one folder a format, one line in [`formats`].
//!
//! Formats know nothing of each other, of SQL functions or of the terminal.

mod cells;
mod copy;
pub mod hdf5;
mod npy;
mod partial_file;
mod png;
mod regular_files;
mod store;

use std::sync::Arc;

use almagest_engine::formats::Format;
use almagest_engine::registry::Stores;
use datafusion::datasource::file_format::FileFormatFactory;

use copy::ArrayFormat;

/// Every format that Almagest adds to DataFusion's own.
pub fn formats() -> Vec<Arc<dyn Format>> {
    vec![Arc::new(hdf5::Hdf5)]
}

/// Every format of arrays that `COPY … TO` writes beside DataFusion's own, by name and extension.
pub fn copy_formats() -> Vec<Arc<dyn FileFormatFactory>> {
    let formats: Vec<Arc<dyn ArrayFormat>> =
        vec![Arc::new(hdf5::copy::Hdf5Copy), Arc::new(npy::NpyCopy), Arc::new(png::PngCopy)];
    copy::factories(formats)
}

/// Local files, S3, Google Cloud Storage, Azure and HTTP: all that a session's queries can reach.
pub fn stores() -> Arc<dyn Stores> {
    Arc::new(store::RemoteStores::default())
}
