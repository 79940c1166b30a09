//! Refuses NULL in the columns that name folders.
//!
//! DataFusion writes what stands under a NULL, which is mostly 0 or nothing, and so mixes these rows with
//! others. In: rows that are to be written into folders. Out: the same ones, or an error.

use std::any::Any;

use arrow::array::{Array, RecordBatch};
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::datasource::listing::ListingTable;
use datafusion::error::Result as DfResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;

use crate::Error;

/// The columns of which a statement makes names of folders.
pub fn of_statement(statement: &LogicalPlan) -> Vec<String> {
    match statement {
        LogicalPlan::Copy(copy) => copy.partition_by.clone(),
        LogicalPlan::Dml(dml) => {
            let Ok(table) = source_as_provider(&dml.target) else { return vec![] };
            let table = (table.as_ref() as &dyn Any).downcast_ref::<ListingTable>();
            let columns = table.map(|table| table.options().table_partition_cols.as_slice());
            columns.unwrap_or_default().iter().map(|(name, _)| name.clone()).collect()
        }
        _ => vec![],
    }
}

/// The rows, until one has a NULL in one of these columns.
pub fn without_null(
    rows: SendableRecordBatchStream,
    columns: &[String],
) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let places = columns.iter().filter_map(|column| schema.index_of(column).ok());
    let places: Vec<usize> = places.collect();
    if places.is_empty() {
        return rows;
    }
    let checked = rows.and_then(move |batch| std::future::ready(check(batch, &places)));
    Box::pin(RecordBatchStreamAdapter::new(schema, checked))
}

fn check(batch: RecordBatch, places: &[usize]) -> DfResult<RecordBatch> {
    match places.iter().find(|place| batch.column(**place).logical_null_count() > 0) {
        None => Ok(batch),
        Some(place) => Err(Error::plan(format!(
            "column '{}' has a NULL, which no folder's name says; give these rows a value with \
             coalesce, or leave them out",
            batch.schema_ref().field(*place).name()
        ))
        .into()),
    }
}
