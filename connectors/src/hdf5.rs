//! HDF5 files: which arrays they hold, and the table over one of them, or over those of a group.
//!
//! Metadata are read by [`metadata`], [`object`], [`groups`] and [`index`], with `rust-hdf5`'s
//! decoders of single messages; elements by [`dataset`] and [`pieces`], without a lock. Not here:
//! element types ([`element`]), filters ([`filters`]), where bytes come from ([`storage`]).

mod attributes;
mod convert;
pub mod copy;
mod dataset;
mod dimensions;
mod element;
mod filters;
mod groups;
mod index;
mod metadata;
mod object;
mod pieces;
mod runs;
mod storage;
mod tables;
pub mod write;

use std::sync::Arc;

use almagest_engine::array::ArraySource;
use almagest_engine::formats::{Format, NamedAttributes, TableOptions};
use almagest_engine::{Error, Result};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::execution::runtime_env::RuntimeEnv;

use storage::FileBytes;
use tables::OpenFile;

/// The HDF5 format.
#[derive(Debug)]
pub struct Hdf5;

#[async_trait]
impl Format for Hdf5 {
    fn name(&self) -> &'static str {
        "HDF5"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["h5", "hdf5", "hdf", "he5", "nc"]
    }

    fn summary(&self) -> &'static str {
        "arrays in HDF5 files, as one row per element; compounds, as one row per record"
    }

    fn options(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (
                "dataset",
                "path of the array in the file, such as /image, or of a group of arrays of one shape",
            ),
            ("dims", "names of its dimensions, slowest first, such as y,x"),
        ]
    }

    async fn open(
        &self,
        runtime: &RuntimeEnv,
        location: &str,
        options: &TableOptions,
    ) -> Result<Arc<dyn TableProvider>> {
        let options = options.clone();
        with_file(runtime, location, move |mut file| file.table(&options)).await
    }

    async fn arrays(
        &self,
        runtime: &RuntimeEnv,
        location: &str,
    ) -> Result<Vec<(String, Result<Arc<dyn ArraySource>>)>> {
        with_file(runtime, location, |mut file| file.arrays()).await
    }

    async fn attributes(
        &self,
        runtime: &RuntimeEnv,
        location: &str,
        path: Option<&str>,
    ) -> Result<NamedAttributes> {
        let path = path.map(String::from);
        with_file(runtime, location, move |mut file| file.attributes(path.as_deref())).await
    }
}

/// Opens the file and works on it on a thread for blocking work.
async fn with_file<T: Send + 'static>(
    runtime: &RuntimeEnv,
    location: &str,
    work: impl FnOnce(OpenFile) -> Result<T> + Send + 'static,
) -> Result<T> {
    let opened = FileBytes::open(runtime, location).await;
    let outcome = match opened {
        Err(error) => Err(error),
        Ok(bytes) => {
            let name = location.to_string();
            let work = move || work(OpenFile::new(Arc::new(bytes), name)?);
            let outcome = tokio::task::spawn_blocking(work).await;
            outcome
                .map_err(|cause| Error::bug("opening an HDF5 file panicked").caused_by(cause))
                .and_then(|outcome| outcome)
        }
    };
    outcome.map_err(|error| error.with("file", location))
}
