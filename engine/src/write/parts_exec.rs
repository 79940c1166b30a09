//! The operator that writes one task's part of a COPY.
//!
//! DataFusion's own COPY runs in it, over the rows of one partition. It is planned where it runs:
//! the operators that write files do not all travel, and nothing of them is needed before.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::file_format::format_as_file_type;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::dml::CopyTo;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, collect,
};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use futures::stream;
use uuid::Uuid;

use super::partition_columns::without_null;
use super::parts::{RECEIPT, Target};
use crate::Error;
use crate::planned_table::PlannedTable;

/// Writes each partition of its input into a folder of its own.
#[derive(Debug)]
pub struct PartsExec {
    target: Arc<Target>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl PartsExec {
    /// Writes the partitions of `input`.
    pub fn new(target: Target, input: Arc<dyn ExecutionPlan>) -> Self {
        Self::over(Arc::new(target), input)
    }

    fn over(target: Arc<Target>, input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&RECEIPT)),
            Partitioning::UnknownPartitioning(input.properties().partitioning.partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self { target, input, properties }
    }

    /// Where and how.
    pub fn target(&self) -> &Target {
        &self.target
    }
}

impl DisplayAs for PartsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PartsExec: format={}", self.target.format)
    }
}

impl ExecutionPlan for PartsExec {
    fn name(&self) -> &'static str {
        "PartsExec"
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
            (Some(child), true) => Ok(Arc::new(Self::over(Arc::clone(&self.target), child))),
            _ => Err(Error::bug("PartsExec takes exactly one child").into()),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let part = Part {
            schema: self.input.schema(),
            input: Arc::clone(&self.input),
            partition,
            partition_by: self.target.partition_by.clone(),
        };
        let receipt = write(Arc::clone(&self.target), part, context);
        let rows = stream::once(receipt);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&RECEIPT), rows)))
    }
}

/// One partition of a plan.
#[derive(Debug)]
struct Part {
    schema: SchemaRef,
    input: Arc<dyn ExecutionPlan>,
    partition: usize,
    /// The columns that name folders.
    partition_by: Vec<String>,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.input.execute(self.partition, context).unwrap_or_else(|cause| {
            let failed = stream::once(async { Err(cause) });
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), failed))
        });
        without_null(rows, &self.partition_by)
    }
}

/// Writes a part, and says where it is.
async fn write(
    target: Arc<Target>,
    part: Part,
    context: Arc<TaskContext>,
) -> DfResult<RecordBatch> {
    let folder = format!("{}{}/", target.folder, Uuid::new_v4());
    let state = writing_state(&context);
    let copy = copy_plan(&target, &folder, part, &state)?;
    let plan = DefaultPhysicalPlanner::default().create_physical_plan(&copy, &state).await?;
    let counts = collect(plan, context).await?;
    let count: u64 = counts.iter().filter_map(count_in).sum();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(vec![folder])), Arc::new(UInt64Array::from(vec![count]))];
    Ok(RecordBatch::try_new(Arc::clone(&RECEIPT), columns)?)
}

fn count_in(counts: &RecordBatch) -> Option<u64> {
    let counts = counts.column(0).as_any().downcast_ref::<UInt64Array>()?;
    arrow::compute::sum(counts)
}

/// What planning a COPY needs of a session: settings, stores, and DataFusion's formats.
fn writing_state(context: &TaskContext) -> SessionState {
    SessionStateBuilder::new()
        .with_config(context.session_config().clone())
        .with_runtime_env(context.runtime_env())
        .with_default_features()
        .build()
}

fn copy_plan(
    target: &Target,
    folder: &str,
    part: Part,
    state: &SessionState,
) -> DfResult<LogicalPlan> {
    let format = state.get_file_format_factory(&target.format).ok_or_else(|| {
        Error::unsupported(format!("a cluster does not write files of {}", target.format))
    })?;
    let schema = Arc::clone(&part.schema);
    let parts: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(part)];
    let rows = StreamingTableExec::try_new(schema, parts, None, [], false, None)?;
    let rows = provider_as_source(Arc::new(PlannedTable::new(Arc::new(rows))));
    let rows = LogicalPlanBuilder::scan("rows", rows, None)?.build()?;
    Ok(LogicalPlan::Copy(CopyTo::new(
        Arc::new(rows),
        folder.into(),
        target.partition_by.clone(),
        format_as_file_type(format),
        target.options.clone().into_iter().collect(),
    )))
}
