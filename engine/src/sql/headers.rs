//! `headers('night/*.h5' [, array => '/path'])`: one row for each file, and a column for each attribute that one of
//! them has.
//!
//! In: files of formats with attributes. Out: a table whose types hold the values of all files. Not here: all
//! attributes of all arrays, one row each ([`super::attributes`]).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionState;
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, TryStreamExt};

use super::table_call::Telling;
use crate::array::Attribute;
use crate::registry::Registry;
use crate::{Error, Result, files};

/// The function's name.
pub const NAME: &str = "headers";

/// What it says of itself.
pub const TELLING: Telling = Telling {
    name: NAME,
    summary: "the attributes of files: one row for each file, a column for each name",
    options: &[(
        "array",
        "the path of the array or group in each file whose attributes are taken [/, the file's own]",
    )],
};

/// The column of the files' names.
const FILE: &str = "file";
/// Files that are opened at the same time.
const FILES_AT_ONCE: usize = 8;
/// Whole numbers up to this one are exact in `Float64`.
const EXACT_MAX: i128 = 1 << 53;

/// The row of each file that `location` names.
///
/// # Errors
/// `NotFound` if there is no such file or array, `Plan` for a file of another format, `DataInvalid`.
pub async fn table(
    location: &str,
    array: &str,
    state: &SessionState,
    registry: &Registry,
) -> Result<Arc<dyn TableProvider>> {
    let names = files::files_at(state, location).await?;
    if names.is_empty() {
        let error = Error::not_found(format!("no file at '{location}'; check the pattern"));
        return Err(error.with("location", location));
    }
    let opened = names.iter().cloned().map(|name| header(name, array, state, registry));
    let opened = futures::stream::iter(opened).buffered(FILES_AT_ONCE);
    let headers: Vec<Vec<Attribute>> = opened.try_collect().await?;
    let batch = rows(names, &headers)?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    Ok(Arc::new(table))
}

/// The attributes of one file.
async fn header(
    name: String,
    array: &str,
    state: &SessionState,
    registry: &Registry,
) -> Result<Vec<Attribute>> {
    let Some(format) = registry.by_path(&name) else {
        return Err(Error::plan(format!(
            "'{name}' is no file of a format with attributes ({})",
            registry.extensions()
        )));
    };
    let mut found = format.attributes(state.runtime_env(), &name, Some(array)).await?;
    found.pop().map_or_else(|| Ok(vec![]), |(_, attributes)| attributes)
}

fn rows(names: Vec<String>, headers: &[Vec<Attribute>]) -> Result<RecordBatch> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut columns: Vec<(&str, Vec<Option<ScalarValue>>)> = vec![];
    for (row, attributes) in headers.iter().enumerate() {
        for Attribute { name, value } in attributes {
            // references and the like have no value here; `attributes` says why
            let Ok(value) = value else { continue };
            let data_type = value.values().data_type();
            let is_plain = data_type.is_numeric() || *data_type == DataType::Boolean;
            let scalar = match value.shape() {
                [] if is_plain => ScalarValue::try_from_array(value.values(), 0)?,
                _ => ScalarValue::from(value.text()?),
            };
            let place = *places.entry(name).or_insert_with(|| {
                columns.push((name, vec![None; headers.len()]));
                columns.len() - 1
            });
            columns[place].1[row] = Some(scalar);
        }
    }
    let mut fields = vec![Field::new(FILE, DataType::Utf8, false)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(StringArray::from(names))];
    for (name, values) in columns {
        let data_type = common_type(values.iter().flatten());
        let missing = ScalarValue::try_new_null(&data_type)?;
        let values = values.into_iter().map(|value| match value {
            None => Ok(missing.clone()),
            Some(value) => value.cast_to(&data_type),
        });
        let values = values.collect::<Result<Vec<_>, _>>()?;
        arrays.push(ScalarValue::iter_to_array(values)?);
        let name = if name == FILE { format!("{name}_2") } else { name.to_string() };
        fields.push(Field::new(name, data_type, true));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|cause| Error::bug("headers make no table").caused_by(cause))
}

/// The narrowest type that holds all values as they are: booleans, whole numbers, floats, else texts.
fn common_type<'a>(values: impl Iterator<Item = &'a ScalarValue> + Clone) -> DataType {
    use ScalarValue as S;
    let all = |is: fn(&S) -> bool| values.clone().all(is);
    let whole = |value: &S| match value {
        S::Int8(Some(value)) => Some(i128::from(*value)),
        S::Int16(Some(value)) => Some(i128::from(*value)),
        S::Int32(Some(value)) => Some(i128::from(*value)),
        S::Int64(Some(value)) => Some(i128::from(*value)),
        S::UInt8(Some(value)) => Some(i128::from(*value)),
        S::UInt16(Some(value)) => Some(i128::from(*value)),
        S::UInt32(Some(value)) => Some(i128::from(*value)),
        S::UInt64(Some(value)) => Some(i128::from(*value)),
        _ => None,
    };
    if all(|value| matches!(value, S::Boolean(_))) {
        return DataType::Boolean;
    }
    if all(|value| matches!(value, S::Float32(_))) {
        return DataType::Float32;
    }
    let mut wholes = vec![];
    let mut is_whole = true;
    for value in values.clone() {
        match whole(value) {
            Some(number) => wholes.push(number),
            None if matches!(value, S::Float32(_) | S::Float64(_)) => is_whole = false,
            None => return DataType::Utf8,
        }
    }
    let within = |least: i128, most: i128| wholes.iter().all(|n| (least..=most).contains(n));
    match is_whole {
        true if within(i128::from(i64::MIN), i128::from(i64::MAX)) => DataType::Int64,
        true if within(0, i128::from(u64::MAX)) => DataType::UInt64,
        false if within(-EXACT_MAX, EXACT_MAX) => DataType::Float64,
        _ => DataType::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_hold_what_all_files_have() {
        let of = |values: &[ScalarValue]| common_type(values.iter());
        let (int, float) = (ScalarValue::from(3_i32), ScalarValue::from(0.5_f64));
        let large = ScalarValue::from(i64::MAX);
        assert_eq!(of(&[int.clone(), large.clone()]), DataType::Int64);
        assert_eq!(of(&[int.clone(), ScalarValue::from(u64::MAX)]), DataType::UInt64);
        assert_eq!(of(&[ScalarValue::from(-1_i8), ScalarValue::from(u64::MAX)]), DataType::Utf8);
        assert_eq!(of(&[int.clone(), float.clone()]), DataType::Float64);
        assert_eq!(of(&[large, float.clone()]), DataType::Utf8);
        assert_eq!(of(&[ScalarValue::from(0.1_f32)]), DataType::Float32);
        assert_eq!(of(&[ScalarValue::from(0.1_f32), float]), DataType::Float64);
        assert_eq!(of(&[ScalarValue::from(true), int.clone()]), DataType::Utf8);
        assert_eq!(of(&[ScalarValue::from("r"), int]), DataType::Utf8);
    }
}
