//! What can be plugged into the engine: formats. (Functions are DataFusion's own UDFs.)
//!
//! In: the lists that `connectors` gives. Out: look-ups by name and by file extension, used by
//! `CREATE EXTERNAL TABLE`, `FROM 'path'`, `read_…` functions, `array_info` and completion alike.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};

use crate::array::ArraySource;
use crate::{Error, Result};

/// Options of a table, keys in lower case, as `OPTIONS ('key' 'value')` or `key => value` give them.
pub type TableOptions = HashMap<String, String>;

/// A file format that the engine did not get from DataFusion.
#[async_trait]
pub trait Format: Debug + Send + Sync {
    /// The name in `STORED AS`, in capitals, such as `HDF5`. The table function is `read_` and the
    /// same name in lower case.
    fn name(&self) -> &'static str;

    /// File extensions without the dot, in lower case.
    fn extensions(&self) -> &'static [&'static str];

    /// One line for people.
    fn summary(&self) -> &'static str;

    /// The options a table may have, each with one line for people, in the order in which a
    /// `read_…` function takes them after the location when they are given without a name.
    fn options(&self) -> &'static [(&'static str, &'static str)];

    /// Opens the table at `location` (a path or URL).
    ///
    /// # Errors
    /// `NotFound`, `DataInvalid`, `Unsupported`, `Unreachable`, with the file.
    async fn open(
        &self,
        session: &dyn Session,
        location: &str,
        options: &TableOptions,
    ) -> Result<Arc<dyn TableProvider>>;

    /// Every array in the file, with its path in it; unreadable ones with the reason.
    ///
    /// # Errors
    /// As [`Format::open`].
    async fn arrays(
        &self,
        session: &dyn Session,
        location: &str,
    ) -> Result<Vec<(String, Result<Arc<dyn ArraySource>>)>>;
}

/// The formats of a session.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    formats: Vec<Arc<dyn Format>>,
}

impl Registry {
    /// A registry of these formats.
    pub fn new(formats: Vec<Arc<dyn Format>>) -> Self {
        Self { formats }
    }

    /// Every format, in the order of registration.
    pub fn formats(&self) -> &[Arc<dyn Format>] {
        &self.formats
    }

    /// The format with this name, in any case.
    pub fn by_name(&self, name: &str) -> Option<&Arc<dyn Format>> {
        self.formats.iter().find(|format| format.name().eq_ignore_ascii_case(name))
    }

    /// The format that a path's extension names.
    pub fn by_path(&self, path: &str) -> Option<&Arc<dyn Format>> {
        let (_, extension) = path.rsplit_once('.')?;
        let extension = extension.to_ascii_lowercase();
        self.formats.iter().find(|format| format.extensions().contains(&extension.as_str()))
    }
}

/// Refuses options that a format does not know, naming those it does.
///
/// # Errors
/// `Plan`.
pub fn check_options(format: &dyn Format, options: &TableOptions) -> Result<()> {
    let known: Vec<&str> = format.options().iter().map(|(name, _)| *name).collect();
    let mut unknown: Vec<&String> =
        options.keys().filter(|key| !known.contains(&key.as_str())).collect();
    unknown.sort();
    match unknown.first() {
        None => Ok(()),
        Some(key) => Err(Error::plan(format!(
            "{} tables have no option '{key}'; use {}",
            format.name(),
            known.join(", ")
        ))),
    }
}
