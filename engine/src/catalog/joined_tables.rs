//! Array tables one behind the other, or one upon the other.
//!
//! In: tables with columns of the same names. Out: one table; its columns are lazy arrays that read
//! only the inputs a query touches.

use std::sync::Arc;

use super::ArrayTable;
use crate::array::{ArraySource, concat, stack};
use crate::{Error, Result};

/// The tables along the dimension `dim` that all of them have.
///
/// # Errors
/// `Plan` if dimensions, lengths on others than `dim`, or columns differ.
pub fn concat_tables(name: &str, dim: &str, tables: &[ArrayTable]) -> Result<ArrayTable> {
    let first = first_of(tables)?;
    let axis = first.dims().iter().position(|known| known == dim).ok_or_else(|| {
        Error::plan(format!(
            "{} has no dimension '{dim}'; its dimensions are {}",
            first.name(),
            first.dims().join(", ")
        ))
    })?;
    for table in tables {
        let others = |table: &ArrayTable| {
            let mut shape = table.shape().to_vec();
            if let Some(length) = shape.get_mut(axis) {
                *length = 0;
            }
            shape
        };
        if others(table) != others(first) {
            return Err(differ(first, table, "the same lengths on all dimensions but the joined"));
        }
    }
    let variables = by_column(tables, |sources| concat(axis, sources))?;
    ArrayTable::with_dims(name, first.dims(), variables)
}

/// The tables under a new leading dimension `dim`, which says which of them a row is of.
///
/// # Errors
/// `Plan` if dimensions, shapes or columns differ, or one is called `dim`.
pub fn stack_tables(name: &str, dim: &str, tables: &[ArrayTable]) -> Result<ArrayTable> {
    let first = first_of(tables)?;
    if first.dims().iter().any(|known| known == dim) {
        return Err(Error::plan(format!(
            "{} has a dimension '{dim}' already; choose another name, or use concat",
            first.name()
        )));
    }
    for table in tables {
        if table.shape() != first.shape() {
            return Err(differ(first, table, "one shape"));
        }
    }
    let variables = by_column(tables, |sources| stack(dim, sources))?;
    let dims: Vec<String> =
        std::iter::once(dim.to_string()).chain(first.dims().iter().cloned()).collect();
    ArrayTable::with_dims(name, &dims, variables)
}

fn first_of(tables: &[ArrayTable]) -> Result<&ArrayTable> {
    tables.first().ok_or_else(|| Error::plan("no tables to join; name at least one"))
}

fn differ(first: &ArrayTable, other: &ArrayTable, expected: &str) -> Error {
    Error::plan(format!(
        "the tables must have {expected}; {} has shape {:?}, {} has {:?}",
        first.name(),
        first.shape(),
        other.name(),
        other.shape()
    ))
}

/// For each column of the first table, what `join` makes of it and those of the others.
fn by_column(
    tables: &[ArrayTable],
    join: impl Fn(Vec<Arc<dyn ArraySource>>) -> Result<Arc<dyn ArraySource>>,
) -> Result<Vec<(String, Arc<dyn ArraySource>)>> {
    let first = first_of(tables)?;
    let columns = |table: &ArrayTable| -> Vec<String> {
        table.variables().map(|(column, _)| column.to_string()).collect()
    };
    for table in tables {
        let (ours, theirs) = (columns(first), columns(table));
        let same = ours.len() == theirs.len() && ours.iter().all(|name| theirs.contains(name));
        if !same || table.dims() != first.dims() {
            return Err(Error::plan(format!(
                "the tables must have the same dimensions and columns; {} has {}, {}; {} has {}, {}",
                first.name(),
                first.dims().join(", "),
                ours.join(", "),
                table.name(),
                table.dims().join(", "),
                theirs.join(", "),
            )));
        }
    }
    let joined = first.variables().map(|(column, _)| {
        let sources = tables.iter().filter_map(|table| table.variable(column)).map(Arc::clone);
        Ok((column.to_string(), join(sources.collect())?))
    });
    joined.collect()
}
