//! What of a file becomes a table: one array, the arrays of a group, or records.
//!
//! In: the options of a table. Out: a table provider, or an error that lists what the file holds.

use std::sync::Arc;

use almagest_engine::array::ArraySource;
use almagest_engine::catalog::{ArrayTable, RecordTable};
use almagest_engine::formats::{NamedAttributes, TableOptions};
use almagest_engine::{Error, ErrorKind, Result};
use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;

use super::attributes::Attributes;
use super::dataset::Hdf5Array;
use super::dimensions::{self, Names};
use super::groups::{self, is_dataset, is_group};
use super::metadata::Metadata;
use super::object::Object;
use super::storage::FileBytes;

/// Names shown in an error.
const NAMES_SHOWN: usize = 20;

/// Arrays by their path; unreadable ones with the reason.
type NamedArrays = Vec<(String, Result<Arc<dyn ArraySource>>)>;

/// A file while tables are made of it.
pub struct OpenFile {
    metadata: Metadata,
    location: String,
    names: Names,
}

impl OpenFile {
    /// Opens the file that `bytes` gives.
    ///
    /// # Errors
    /// `DataInvalid` if it is no HDF5 file, `Unreachable`.
    pub fn new(bytes: Arc<FileBytes>, location: String) -> Result<Self> {
        Ok(Self { metadata: Metadata::open(bytes)?, location, names: Names::default() })
    }

    /// The object at `path`, which is a dataset or a group.
    fn named(&mut self, path: &str) -> Result<(String, Object)> {
        let path = format!("/{}", path.trim_matches('/'));
        let found = groups::resolve(&mut self.metadata, &path);
        let found = found.map_err(|error| error.with("dataset", &path))?;
        match found.filter(|object| is_dataset(object) || is_group(object)) {
            Some(object) => Ok((path, object)),
            None => Err(Error::not_found(format!("no dataset '{path}'; {}", self.listing()))),
        }
    }

    /// The attributes of all objects by their paths, or of the one at `path`; the file's own are those of `/`.
    ///
    /// # Errors
    /// `NotFound` with the names that there are, `DataInvalid`, `Unreachable`.
    pub fn attributes(&mut self, path: Option<&str>) -> Result<NamedAttributes> {
        let objects = match path {
            Some(path) => {
                let (path, object) = self.named(path)?;
                vec![(path, Ok(object))]
            }
            None => {
                let root = self.metadata.root;
                let listing = groups::list(&mut self.metadata, root, "")?;
                let mut objects = vec![("/".into(), Object::read(&mut self.metadata, root))];
                let groups = listing.groups.into_iter();
                objects.extend(groups.map(|(path, object)| (path, Ok(object))));
                objects.extend(listing.datasets);
                objects.sort_by(|one, other| one.0.cmp(&other.0));
                objects
            }
        };
        let mut found = vec![];
        for (path, object) in objects {
            let values = object.and_then(|object| {
                Attributes::read(&mut self.metadata, &object)?.all(&mut self.metadata)
            });
            match values {
                Err(error) if error.kind() == ErrorKind::Unreachable => return Err(error),
                values => found.push((path, values)),
            }
        }
        Ok(found)
    }

    /// The table that `options` ask for.
    ///
    /// # Errors
    /// `NotFound` with the names that there are, `Plan`, `Unsupported`, `DataInvalid`.
    pub fn table(&mut self, options: &TableOptions) -> Result<Arc<dyn TableProvider>> {
        let (name, object) = match options.get("dataset") {
            None => self.only_array()?,
            Some(name) => self.named(name)?,
        };
        let dims = options
            .get("dims")
            .map(|dims| dims.split(',').map(|dim| dim.trim().to_string()).collect::<Vec<String>>());
        if !is_dataset(&object) {
            return self.group_table(&name, &object, dims);
        }
        let array = self.array(&name, &object, dims.clone());
        let array = array.map_err(|error| error.with("dataset", &name))?;
        let records = matches!(array.meta().data_type, DataType::Struct(_));
        if records && array.meta().shape.len() == 1 {
            if dims.is_some() {
                return Err(Error::plan("a table of records has no dimensions; leave 'dims' out")
                    .with("dataset", &name));
            }
            return Ok(Arc::new(RecordTable::try_new(name, Arc::new(array))?));
        }
        Ok(Arc::new(array_table(name, vec![("value".into(), array)])?))
    }

    /// Every dataset with its path; unreadable ones with the reason.
    ///
    /// # Errors
    /// `DataInvalid`, `Unreachable`.
    pub fn arrays(&mut self) -> Result<NamedArrays> {
        let root = self.metadata.root;
        let listing = groups::list(&mut self.metadata, root, "")?;
        self.names.by_address = Some(listing.names);
        let arrays = listing.datasets.into_iter().map(|(name, object)| {
            let array = object.and_then(|object| self.array(&name, &object, None));
            let array = array.map(|array| Arc::new(array) as Arc<dyn ArraySource>);
            (name, array)
        });
        Ok(arrays.collect())
    }

    fn array(
        &mut self,
        name: &str,
        object: &Object,
        dims: Option<Vec<String>>,
    ) -> Result<Hdf5Array> {
        let mut array = Hdf5Array::open(&mut self.metadata, object, &self.location, name)?;
        let dims = match dims {
            Some(dims) => dims,
            None => {
                let own = name.rsplit('/').next().unwrap_or(name);
                let ndim = array.meta().shape.len();
                dimensions::names(&mut self.metadata, object, own, ndim, &mut self.names)?
            }
        };
        array.rename_dims(dims)?;
        Ok(array)
    }

    /// The table over the arrays of a group, which share a shape.
    fn group_table(
        &mut self,
        path: &str,
        group: &Object,
        dims: Option<Vec<String>>,
    ) -> Result<Arc<dyn TableProvider>> {
        let mut variables = vec![];
        for (name, link) in groups::links(&mut self.metadata, group)? {
            let groups::Link::Hard(address) = link else { continue };
            let child = format!("{}/{name}", path.trim_end_matches('/'));
            let inside = |error: Error| error.with("dataset", &child);
            let object = Object::read(&mut self.metadata, address).map_err(inside)?;
            if !is_dataset(&object) {
                continue;
            }
            let attributes = Attributes::read(&mut self.metadata, &object).map_err(inside)?;
            if dimensions::is_scale(&attributes, &mut self.metadata).map_err(inside)? {
                continue;
            }
            let array = self.array(&child, &object, dims.clone()).map_err(inside)?;
            variables.push((name, array));
        }
        if variables.is_empty() {
            let listing = self.listing();
            return Err(Error::not_found(format!("no array in the group '{path}'; {listing}")));
        }
        let first = variables[0].1.meta().shape.clone();
        if let Some((name, other)) = variables.iter().find(|(_, other)| other.meta().shape != first)
        {
            return Err(Error::plan(format!(
                "the arrays of the group '{path}' differ in shape: '{}' has {first:?}, '{name}' \
                 {:?}; name one array",
                variables[0].0,
                other.meta().shape
            )));
        }
        Ok(Arc::new(array_table(path.into(), variables)?))
    }

    /// The one array of a file, leaving aside scales, single values and what another array names as
    /// auxiliary.
    fn only_array(&mut self) -> Result<(String, Object)> {
        let root = self.metadata.root;
        let listing = groups::list(&mut self.metadata, root, "")?;
        self.names.by_address = Some(listing.names);
        let mut all = vec![];
        for (name, object) in listing.datasets {
            all.push((name.clone(), object.map_err(|error| error.with("dataset", &name))?));
        }
        if all.len() == 1 {
            return Ok(all.remove(0));
        }
        let mut auxiliary = vec![];
        let mut main = vec![];
        for (name, object) in all {
            let attributes = Attributes::read(&mut self.metadata, &object)?;
            auxiliary.extend(dimensions::auxiliary(&attributes, &mut self.metadata)?);
            let single = Hdf5Array::is_single(&object, &mut self.metadata)?;
            if !single && !dimensions::is_scale(&attributes, &mut self.metadata)? {
                main.push((name, object));
            }
        }
        main.retain(|(name, _)| {
            let own = name.rsplit('/').next().unwrap_or(name);
            !auxiliary.iter().any(|name| name == own)
        });
        match main.len() {
            1 => Ok(main.remove(0)),
            0 => Err(Error::not_found(format!("the file holds no array; {}", self.listing()))),
            _ => {
                let listing =
                    shown(&main.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
                Err(Error::plan(format!(
                    "the file holds several arrays; name one, or the group of some that share a shape, \
                     with FROM read_hdf5('file', dataset => '…') or OPTIONS ('dataset' '…'); it \
                     holds {listing}"
                )))
            }
        }
    }

    fn listing(&mut self) -> String {
        let root = self.metadata.root;
        match groups::list(&mut self.metadata, root, "") {
            Err(_) => "its datasets cannot be listed".into(),
            Ok(found) if found.datasets.is_empty() => "it holds no dataset".into(),
            Ok(found) => {
                let names: Vec<&str> =
                    found.datasets.iter().map(|(name, _)| name.as_str()).collect();
                format!("it holds {}", shown(&names))
            }
        }
    }
}

fn shown(names: &[&str]) -> String {
    let more = if names.len() > NAMES_SHOWN { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(NAMES_SHOWN)].join(", "))
}

/// A table over arrays; a dimension that has the name of a column is called its index.
fn array_table(name: String, variables: Vec<(String, Hdf5Array)>) -> Result<ArrayTable> {
    let columns: Vec<String> = variables.iter().map(|(name, _)| name.clone()).collect();
    let mut sources: Vec<(String, Arc<dyn ArraySource>)> = vec![];
    for (column, mut array) in variables {
        let dims = array.meta().dims.iter().map(|dim| match columns.contains(dim) {
            true => format!("{dim}_index"),
            false => dim.clone(),
        });
        array.rename_dims(dims.collect())?;
        sources.push((column, Arc::new(array)));
    }
    ArrayTable::try_new(name, sources)
}
