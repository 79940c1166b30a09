//! Columns in the names of folders: `year=2024/part.parquet`.

use std::collections::HashMap;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::CreateExternalTable;
use object_store::ObjectMeta;

use super::location::Location;
use crate::{Error, Result};

/// Files of one location.
pub type Found<'a> = (&'a Location, &'a Vec<ObjectMeta>);

/// The partition columns of a table and their types: those declared, or those that every file has.
/// A column whose values are all whole numbers, written without leading zeros, is `BIGINT`; any
/// other is text.
///
/// # Errors
/// `DataInvalid` if files differ in the names of their folders, `Plan` if `PARTITIONED BY` does not
/// fit them.
pub fn columns(
    state: &SessionState,
    command: &CreateExternalTable,
    found: &[Found<'_>],
) -> Result<Vec<(String, DataType)>> {
    let declared = &command.table_partition_cols;
    let schema = command.schema.inner();
    if !schema.fields().is_empty() {
        let typed = declared.iter().map(|name| match schema.field_with_name(name) {
            Ok(field) => Ok((name.clone(), field.data_type().clone())),
            Err(_) => {
                Err(Error::plan(format!("PARTITIONED BY names '{name}', which is no column")))
            }
        });
        return typed.collect();
    }
    let infer = state.config_options().execution.listing_table_factory_infer_partitions;
    if declared.is_empty() && !infer {
        return Ok(vec![]);
    }
    let names = names(found)?;
    if !declared.is_empty() && !names.is_empty() && !names.starts_with(declared) {
        return Err(Error::plan(format!(
            "PARTITIONED BY ({}) does not fit the folders, which are {}",
            declared.join(", "),
            names.join("/")
        )));
    }
    let names = if declared.is_empty() { &names } else { declared };
    let mut whole: HashMap<&str, bool> = HashMap::new();
    for (location, files) in found {
        for (name, value) in files.iter().flat_map(|file| pairs(location, file)) {
            *whole.entry(name).or_insert(true) &= is_whole_number(value);
        }
    }
    let text = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8));
    let typed = names.iter().map(|name| {
        let whole = whole.get(name.as_str()) == Some(&true);
        (name.clone(), if whole { DataType::Int64 } else { text.clone() })
    });
    Ok(typed.collect())
}

/// Refuses a column that is both in the files and in the folders' names.
///
/// # Errors
/// `DataInvalid`.
pub fn check(partitions: &[(String, DataType)], schema: &SchemaRef) -> Result<()> {
    match partitions.iter().find(|(name, _)| schema.field_with_name(name).is_ok()) {
        None => Ok(()),
        Some((name, _)) => Err(Error::data_invalid(format!(
            "column '{name}' stands in the files and in the names of their folders; declare the \
             table's columns"
        ))),
    }
}

/// Leading zeros count: DataFusion prunes by the text of the value.
fn is_whole_number(value: &str) -> bool {
    value.parse::<i64>().is_ok_and(|number| number.to_string() == value)
}

fn names(found: &[Found<'_>]) -> Result<Vec<String>> {
    let mut first: Option<(Vec<String>, String)> = None;
    for (location, files) in found {
        for file in *files {
            let names: Vec<String> =
                pairs(location, file).map(|(name, _)| name.to_string()).collect();
            match &first {
                None => first = Some((names, location.name_of(file))),
                Some((seen, _)) if *seen == names => {}
                Some((seen, other)) => {
                    return Err(Error::data_invalid(format!(
                        "folders name different columns: [{}] for {other}, [{}] here; move the \
                         files so that all have the same",
                        seen.join(", "),
                        names.join(", ")
                    ))
                    .with("file", location.name_of(file)));
                }
            }
        }
    }
    Ok(first.map(|(names, _)| names).unwrap_or_default())
}

/// The `name=value` folders between a location and a file.
fn pairs<'a>(
    location: &'a Location,
    file: &'a ObjectMeta,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let parts = location.url.strip_prefix(&file.location).into_iter().flatten();
    let mut parts: Vec<&str> = parts.collect();
    parts.pop();
    parts.into_iter().filter_map(|part| part.split_once('='))
}
