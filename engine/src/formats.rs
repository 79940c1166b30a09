//! What a format of files is, and the options of its tables.
//!
//! In: a location and options. Out: a table, or the arrays in a file. Not here: the formats themselves, which
//! `connectors` has, those of DataFusion ([`crate::files`]), and which of them a session knows ([`crate::registry`]).

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::execution::runtime_env::RuntimeEnv;

use crate::array::{ArraySource, Attribute};
use crate::{Error, Result};

/// Options of a table, keys in lower case, as `OPTIONS ('key' 'value')` or `key => value` give them.
pub type TableOptions = HashMap<String, String>;

/// The attributes of a file, its groups and its arrays by their paths, or why those of one cannot be read.
pub type NamedAttributes = Vec<(String, Result<Vec<Attribute>>)>;

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
        runtime: &RuntimeEnv,
        location: &str,
        options: &TableOptions,
    ) -> Result<Arc<dyn TableProvider>>;

    /// Every array in the file, with its path in it; unreadable ones with the reason.
    ///
    /// # Errors
    /// As [`Format::open`].
    async fn arrays(
        &self,
        runtime: &RuntimeEnv,
        location: &str,
    ) -> Result<Vec<(String, Result<Arc<dyn ArraySource>>)>>;

    /// The attributes of the file, its groups and its arrays, each with its path; or of the array or group `path`
    /// alone.
    ///
    /// # Errors
    /// As [`Format::open`].
    async fn attributes(
        &self,
        runtime: &RuntimeEnv,
        location: &str,
        path: Option<&str>,
    ) -> Result<NamedAttributes>;
}

/// The option of every format that reads several files as one array.
pub const STACK: &str = "stack";

/// The options of tables of a format: its own, and those of all formats.
pub fn options_of(format: &dyn Format) -> Vec<(&'static str, &'static str)> {
    let stack =
        (STACK, "name of a new leading dimension under which the files of a glob are stacked");
    format.options().iter().copied().chain([stack]).collect()
}

/// Refuses options that a format does not know, naming those it does.
///
/// # Errors
/// `Plan`.
pub fn check_options(format: &dyn Format, options: &TableOptions) -> Result<()> {
    let known: Vec<&str> = options_of(format).iter().map(|(name, _)| *name).collect();
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
