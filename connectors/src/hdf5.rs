//! HDF5 files: which arrays they hold, and the table over one of them.
//!
//! `hdf5-pure` gives the metadata; elements are read by our own `pread` and decoded without a lock
//! ([`source`]). Not here: element types ([`datatype`]), filters ([`filters`]).

mod datatype;
mod filters;
mod source;

use std::path::PathBuf;
use std::sync::Arc;

use almagest_engine::array::ArraySource;
use almagest_engine::catalog::ArrayTable;
use almagest_engine::registry::{Format, TableOptions};
use almagest_engine::{Error, Result};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use hdf5_pure::{Dataset, File, Group};

use source::Hdf5Array;

/// Groups nested deeper than this are not searched: a hard link may make a group its own child.
const GROUP_DEPTH_MAX: usize = 16;
/// Datasets listed at the most.
const DATASETS_MAX: usize = 10_000;

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
        "arrays in HDF5 files, as one row per element"
    }

    fn options(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("dataset", "path of the array in the file, such as /image"),
            ("dims", "names of its dimensions, slowest first, such as y,x"),
        ]
    }

    async fn open(
        &self,
        _: &dyn Session,
        location: &str,
        options: &TableOptions,
    ) -> Result<Arc<dyn TableProvider>> {
        let path = local_path(location)?;
        let options = options.clone();
        let table = run_blocking(move || open_table(&path, &options)).await;
        Ok(Arc::new(table.map_err(|error| error.with("file", location))?))
    }

    async fn arrays(
        &self,
        _: &dyn Session,
        location: &str,
    ) -> Result<Vec<(String, Result<Arc<dyn ArraySource>>)>> {
        let path = local_path(location)?;
        let arrays = run_blocking(move || {
            let file = open_file(&path)?;
            let datasets = datasets(&file)?;
            Ok(datasets
                .into_iter()
                .map(|(name, dataset)| {
                    let array = Hdf5Array::open(&path, &name, &dataset);
                    (name, array.map(|array| Arc::new(array) as Arc<dyn ArraySource>))
                })
                .collect())
        });
        arrays.await.map_err(|error: Error| error.with("file", location))
    }
}

async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.map_err(|cause| Error::bug("opening an HDF5 file panicked").caused_by(cause))?
}

fn local_path(location: &str) -> Result<PathBuf> {
    if let Some(path) = location.strip_prefix("file://") {
        return Ok(PathBuf::from(path));
    }
    match location.split_once("://") {
        None => Ok(PathBuf::from(location)),
        Some((scheme, _)) => Err(Error::unsupported(format!(
            "HDF5 files are read from local disks only, not over {scheme}://; copy the file first"
        ))
        .with("file", location)),
    }
}

fn open_file(path: &std::path::Path) -> Result<File> {
    let found = std::fs::metadata(path);
    match found {
        Err(cause) => Err(Error::not_found(format!("cannot open the file: {cause}"))),
        Ok(found) if found.is_dir() => {
            Err(Error::unsupported("a folder, where one HDF5 file was expected"))
        }
        Ok(_) => File::open_streaming(path).map_err(|cause| {
            Error::data_invalid(format!("not a readable HDF5 file: {cause}")).caused_by(cause)
        }),
    }
}

fn open_table(path: &std::path::Path, options: &TableOptions) -> Result<ArrayTable> {
    let file = open_file(path)?;
    let (name, dataset) = match options.get("dataset") {
        Some(name) => {
            let name = format!("/{}", name.trim_matches('/'));
            let dataset = file.dataset(&name).map_err(|cause| {
                Error::not_found(format!("no dataset '{name}'; {}", listing(&file)))
                    .caused_by(cause)
            })?;
            (name, dataset)
        }
        None => only_array(&file)?,
    };
    let mut array =
        Hdf5Array::open(path, &name, &dataset).map_err(|error| error.with("dataset", &name))?;
    if let Some(dims) = options.get("dims") {
        array.rename_dims(dims.split(',').map(|dim| dim.trim().to_string()).collect())?;
    }
    ArrayTable::try_new(name, vec![("value".into(), Arc::new(array))])
}

/// The one array of a file.
fn only_array(file: &File) -> Result<(String, Dataset)> {
    let mut arrays = datasets(file)?;
    arrays.retain(|(_, dataset)| dataset.shape().is_ok_and(|shape| !shape.is_empty()));
    match arrays.len() {
        1 => Ok(arrays.remove(0)),
        0 => Err(Error::not_found("the file holds no array")),
        _ => Err(Error::plan(format!(
            "the file holds several arrays; name one with OPTIONS ('dataset' '…'); {}",
            listing(file)
        ))),
    }
}

fn listing(file: &File) -> String {
    const SHOWN: usize = 20;
    match datasets(file) {
        Err(_) => "its datasets cannot be listed".into(),
        Ok(found) if found.is_empty() => "it holds no dataset".into(),
        Ok(found) => {
            let names: Vec<&str> =
                found.iter().take(SHOWN).map(|(name, _)| name.as_str()).collect();
            let more = if found.len() > SHOWN { ", …" } else { "" };
            format!("it holds {}{more}", names.join(", "))
        }
    }
}

/// Every dataset below the root, by path, in the order of the file.
fn datasets(file: &File) -> Result<Vec<(String, Dataset)>> {
    let mut found = vec![];
    collect(&file.root(), "", 0, &mut found)?;
    Ok(found)
}

fn collect(
    group: &Group,
    path: &str,
    depth: usize,
    found: &mut Vec<(String, Dataset)>,
) -> Result<()> {
    let broken = |cause: hdf5_pure::Error| {
        Error::data_invalid(format!("group '{path}/' cannot be listed: {cause}")).caused_by(cause)
    };
    for (name, dataset) in group.iter_datasets().map_err(broken)? {
        if found.len() >= DATASETS_MAX {
            return Ok(());
        }
        found.push((format!("{path}/{name}"), dataset));
    }
    if depth < GROUP_DEPTH_MAX {
        for name in group.groups().map_err(broken)? {
            let child = group.group(&name).map_err(broken)?;
            collect(&child, &format!("{path}/{name}"), depth + 1, found)?;
        }
    }
    Ok(())
}
