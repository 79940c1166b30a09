//! The table over a file of arrays, or over several that a glob names, stacked.
//!
//! In: a format, a location, options. Out: the format's own table of one file; with the option
//! `stack` an array table with a new leading dimension, the files in the order of their names. Not
//! here: how a format reads a file ([`Format`]).

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::execution::session_state::SessionState;
use futures::{StreamExt, TryStreamExt};

use super::location::Location;
use crate::catalog::{ArrayTable, FileRecipe, RecordTable, Recorded, TableRecipe, stack_tables};
use crate::formats::{Format, STACK, TableOptions, check_options};
use crate::{Error, Result};

/// Files that are opened at the same time.
const FILES_AT_ONCE: usize = 8;

/// The table of `format` over `location`.
///
/// # Errors
/// `Plan` for unknown options, several files without `stack`, or files that differ; `NotFound`; those
/// of the format.
pub async fn open_arrays(
    state: &SessionState,
    format: &dyn Format,
    location: &str,
    options: &TableOptions,
) -> Result<Arc<dyn TableProvider>> {
    check_options(format, options)?;
    let mut options = options.clone();
    let stack = options.remove(STACK);
    let files = files_at(state, location).await?;
    match (stack, files.as_slice()) {
        (None, [file]) => opened(state, format, file, &options).await,
        (None, [first, .., last]) => Err(Error::plan(format!(
            "'{location}' names {} files, {first} to {last}; name one, or give a name to the \
             dimension that numbers them: {STACK} => 'file'",
            files.len()
        ))),
        (_, []) => Err(Error::not_found(format!("no file at '{location}'; check the pattern"))
            .with("location", location)),
        (Some(dim), files) => {
            // Owned names: a closure over borrowed ones is not general enough for an async stream.
            let opened = files.iter().cloned().map(|file| one(state, format, file, &options));
            let opened = futures::stream::iter(opened).buffered(FILES_AT_ONCE);
            let tables: Vec<ArrayTable> = opened.try_collect().await?;
            check_alike(files, &tables)?;
            let table = stack_tables(location, &dim, &tables)?;
            let recipe = TableRecipe::Stack { name: location.into(), dim, tables };
            Ok(Arc::new(Recorded::table(table, recipe)))
        }
    }
}

/// The files that a glob names, in the order of their names; another location as it is.
///
/// # Errors
/// Those of listing.
pub async fn files_at(state: &SessionState, location: &str) -> Result<Vec<String>> {
    // In an HTTP URL a question mark begins the query, and nothing can be listed.
    let is_glob = location.contains(['*', '?', '[']) && !location.starts_with("http");
    if !is_glob || std::path::Path::new(location).exists() {
        return Ok(vec![location.to_string()]);
    }
    let found = Location::all(&[location.to_string()], &TableReference::bare(location))?;
    let mut names = vec![];
    for location in found {
        for (location, files) in location.spread(state).await? {
            names.extend(files.iter().map(|file| location.name_of(file)));
        }
    }
    Ok(names)
}

/// The table over one file, recorded.
async fn opened(
    state: &SessionState,
    format: &dyn Format,
    file: &str,
    options: &TableOptions,
) -> Result<Arc<dyn TableProvider>> {
    let table = format.open(state.runtime_env(), file, options).await?;
    let recipe = TableRecipe::File(FileRecipe::new(format.name(), file, options));
    if let Some(arrays) = table.downcast_ref::<ArrayTable>() {
        return Ok(Arc::new(Recorded::table(arrays.clone(), recipe)));
    }
    if let Some(records) = table.downcast_ref::<RecordTable>() {
        return Ok(Arc::new(records.recorded(recipe)));
    }
    Ok(table)
}

async fn one(
    state: &SessionState,
    format: &dyn Format,
    file: String,
    options: &TableOptions,
) -> Result<ArrayTable> {
    let table = opened(state, format, &file, options).await?;
    table.downcast_ref::<ArrayTable>().cloned().ok_or_else(|| {
        Error::unsupported("a table of records, which cannot be stacked; name an array")
            .with("file", file)
    })
}

/// Whether files have the same dimensions, shape, columns and types.
fn check_alike(files: &[String], tables: &[ArrayTable]) -> Result<()> {
    let described = |table: &ArrayTable| {
        let columns = table
            .variables()
            .map(|(column, source)| format!("{column} {}", source.meta().data_type));
        let columns: Vec<String> = columns.collect();
        format!("{} over {:?}, {}", columns.join(", "), table.shape(), table.dims().join(", "))
    };
    let mut all = files.iter().zip(tables).map(|(file, table)| (file, described(table)));
    let Some((first, expected)) = all.next() else { return Ok(()) };
    match all.find(|(_, found)| *found != expected) {
        None => Ok(()),
        Some((other, found)) => Err(Error::plan(format!(
            "files that are stacked must hold arrays of one shape and type; {first} has {expected}; \
             {other} has {found}"
        ))),
    }
}
