//! Rows from a cluster in the types that a session was promised.
//!
//! Columns that folders name are dictionaries of texts in a session's plan. DataFusion's messages about
//! such a table give their texts alone, so the rows of executors come without dictionaries.

use std::sync::Arc;

use almagest_engine::{Error, Result};
use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};

/// The rows with dictionaries where `promised` has them.
///
/// # Errors
/// `Bug` for texts of which no dictionary can be made.
pub fn typed(rows: RecordBatch, promised: &SchemaRef) -> Result<RecordBatch> {
    let given = rows.schema();
    if given.fields().len() != promised.fields().len() {
        return Ok(rows);
    }
    let is_lost = |(given, promised): (&DataType, &DataType)| {
        given != promised
            && matches!(promised, DataType::Dictionary(_, _))
            && !matches!(given, DataType::Dictionary(_, _))
    };
    let pairs = given.fields().iter().zip(promised.fields());
    let lost: Vec<bool> =
        pairs.map(|(given, promised)| is_lost((given.data_type(), promised.data_type()))).collect();
    if !lost.contains(&true) {
        return Ok(rows);
    }
    let (mut fields, mut columns) = (vec![], vec![]);
    for (place, lost) in lost.into_iter().enumerate() {
        let (field, column) = (&given.fields()[place], rows.column(place));
        if !lost {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
            continue;
        }
        let data_type = promised.field(place).data_type();
        let made = cast(column, data_type).map_err(|cause| {
            Error::bug(format!("{} does not become {data_type}", field.name())).caused_by(cause)
        })?;
        fields.push(Arc::new(field.as_ref().clone().with_data_type(data_type.clone())));
        columns.push(made);
    }
    let schema = Arc::new(Schema::new_with_metadata(fields, given.metadata().clone()));
    RecordBatch::try_new(schema, columns)
        .map_err(|cause| Error::bug("rows of other types").caused_by(cause))
}
