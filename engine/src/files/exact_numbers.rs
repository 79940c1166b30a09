//! Whole numbers of some files that `DOUBLE`, which others of the same table have, must hold.
//!
//! In: the columns of which this is so. Out: a refusal, if the statistics of a Parquet file do not show that
//! its numbers are at most 2^53: beyond, `DOUBLE` has not every whole number, and values would come rounded.
//! Not here: text files, whose numbers are read as the table's type in the first place.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue};
use datafusion::datasource::file_format::FileFormat;
use datafusion::execution::session_state::SessionState;

use super::partitions::Found;
use super::schema::read_schema;
use crate::{Error, Result};

/// `DOUBLE` holds every whole number up to this one.
const EXACT_MAX: i128 = 1 << 53;

/// Whether a type has whole numbers that `DOUBLE` has not.
pub fn is_wide(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::UInt64)
}

/// Refuses files with numbers in these columns that would be rounded.
///
/// # Errors
/// `DataInvalid` with the file.
pub async fn check(
    state: &SessionState,
    format: &Arc<dyn FileFormat>,
    found: &[Found<'_>],
    columns: &BTreeSet<String>,
) -> Result<()> {
    for (location, files) in found {
        let store = state.runtime_env().object_store(&location.url)?;
        for file in *files {
            let name = location.name_of(file);
            let is_local = location.url.scheme() == "file";
            let (name, schema) = read_schema(state, format, &store, file, name, is_local).await?;
            let whole = |(_, field): &(usize, &Arc<arrow::datatypes::Field>)| {
                columns.contains(field.name()) && is_wide(field.data_type())
            };
            let fields: Vec<_> = schema.fields().iter().enumerate().filter(whole).collect();
            if fields.is_empty() {
                continue;
            }
            let statistics = format.infer_stats(state, &store, Arc::clone(&schema), file).await?;
            for (place, field) in fields {
                let of_column = statistics.column_statistics.get(place);
                if !of_column.is_some_and(|known| is_exact(known, &statistics.num_rows)) {
                    return Err(Error::data_invalid(format!(
                        "column '{}' is {} here and a float in other files, and not all its numbers are \
                         known to be at most 2^53, beyond which DOUBLE rounds; make two tables and UNION \
                         ALL them with a CAST",
                        field.name(),
                        field.data_type()
                    ))
                    .with("file", name));
                }
            }
        }
    }
    Ok(())
}

fn is_exact(column: &ColumnStatistics, rows: &Precision<usize>) -> bool {
    let all_null = rows.get_value().is_some() && column.null_count == *rows;
    let fits = |bound: &Precision<ScalarValue>| {
        let number = match bound.get_value() {
            Some(ScalarValue::Int64(Some(number))) => i128::from(*number),
            Some(ScalarValue::UInt64(Some(number))) => i128::from(*number),
            _ => return false,
        };
        number.abs() <= EXACT_MAX
    };
    all_null || (fits(&column.min_value) && fits(&column.max_value))
}
