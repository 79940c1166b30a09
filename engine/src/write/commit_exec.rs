//! The operator at the end of a COPY by many tasks: it makes what they wrote part of the folder.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, execute_stream,
};
use futures::{StreamExt, stream};

use super::unfinished::Unfinished;
use crate::Error;

/// Moves the files that its input names to where they belong, and counts their rows.
#[derive(Debug)]
pub struct CommitExec {
    /// Where the files belong: a URL that ends in `/`.
    folder: String,
    /// Where tasks write: a URL that ends in `/`.
    unfinished: String,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl CommitExec {
    /// Moves files from `unfinished` to `folder`, as the rows of `input` say.
    pub fn new(folder: String, unfinished: String, input: Arc<dyn ExecutionPlan>) -> Self {
        // as DataFusion's COPY
        let schema = Schema::new(vec![Field::new("count", DataType::UInt64, false)]);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::new(schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self { folder, unfinished, input, properties }
    }
}

impl DisplayAs for CommitExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("CommitExec")
    }
}

impl ExecutionPlan for CommitExec {
    fn name(&self) -> &'static str {
        "CommitExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(child), true) => {
                Ok(Arc::new(Self::new(self.folder.clone(), self.unfinished.clone(), child)))
            }
            _ => Err(Error::bug("CommitExec takes exactly one child").into()),
        }
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let unfinished =
            Unfinished::try_new(&self.unfinished, &self.folder, &context.runtime_env())?;
        let receipts = execute_stream(Arc::clone(&self.input), context)?;
        let schema = self.schema();
        let count = commit(receipts, unfinished, Arc::clone(&schema));
        let count = stream::once(count);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, count)))
    }
}

async fn commit(
    mut receipts: SendableRecordBatchStream,
    unfinished: Unfinished,
    schema: SchemaRef,
) -> DfResult<RecordBatch> {
    let (mut folders, mut count) = (vec![], 0);
    // Nothing is moved before everything is written.
    while let Some(batch) = receipts.next().await {
        let batch = batch?;
        folders.extend(batch.column(0).as_string::<i32>().iter().flatten().map(String::from));
        count += batch.column(1).as_primitive::<UInt64Type>().iter().flatten().sum::<u64>();
    }
    // A query that is cancelled now has all its rows in the folder, not those of some files.
    let moved = tokio::spawn(async move { unfinished.finish(&folders).await });
    moved.await.map_err(|cause| Error::bug("moving files ended early").caused_by(cause))??;
    Ok(RecordBatch::try_new(schema, vec![Arc::new(UInt64Array::from(vec![count]))])?)
}
