//! Descriptor rows: which pieces of work each partition does.
//!
//! They are the leaf of every plan of ours that reads anything: a cluster cuts a leaf that it knows,
//! and this one it does, into one for each task. Rows are runs of piece numbers, so that a plan over
//! a hundred thousand pieces stays small.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result as DfResult;
use datafusion::physical_plan::ExecutionPlan;

use crate::{Error, Result};

/// A leaf with a partition for each run of pieces.
///
/// # Errors
/// `Bug` if DataFusion refuses it.
pub fn descriptors(runs: impl Iterator<Item = Range<u64>>) -> DfResult<Arc<dyn ExecutionPlan>> {
    let schema = schema();
    let batches = runs.map(|run| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(vec![run.start])),
            Arc::new(UInt64Array::from(vec![run.end - run.start])),
        ];
        Ok(vec![RecordBatch::try_new(Arc::clone(&schema), columns)?])
    });
    let batches = batches.collect::<DfResult<Vec<_>>>()?;
    Ok(MemorySourceConfig::try_new_exec(&batches, schema, None)?)
}

/// The runs of pieces that rows name.
///
/// # Errors
/// `Bug` for other rows.
pub fn runs_of(rows: &RecordBatch) -> Result<Vec<Range<u64>>> {
    let column = |index: usize| {
        let column =
            rows.columns().get(index).and_then(|column| column.as_primitive_opt::<UInt64Type>());
        column.ok_or_else(|| Error::bug("descriptors are not u64"))
    };
    let (first, count) = (column(0)?, column(1)?);
    let runs = first.values().iter().zip(count.values());
    Ok(runs.map(|(first, count)| *first..first.saturating_add(*count)).collect())
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("first", DataType::UInt64, false),
        Field::new("count", DataType::UInt64, false),
    ]))
}
