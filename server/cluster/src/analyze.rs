//! `EXPLAIN ANALYZE` of a query on the cluster: it runs, and its stages are told with what each
//! operator did and who worked.

use std::fmt;
use std::sync::Arc;

use almagest_engine::{Error, Result};
use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use ballista_core::serde::protobuf::{JobStageMetrics, OperatorMetricsSet, OperatorWithMetrics};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::stream;

use super::gatekeeper::EXECUTORS;
use super::query::ClusterQuery;

/// The operator that runs a query and tells how.
#[derive(Debug)]
pub struct AnalyzeQuery {
    query: Arc<ClusterQuery>,
    properties: Arc<PlanProperties>,
}

impl AnalyzeQuery {
    /// Tells of `query` in rows of `schema`, that of EXPLAIN.
    pub fn new(query: Arc<ClusterQuery>, schema: SchemaRef) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self { query, properties }
    }
}

impl DisplayAs for AnalyzeQuery {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("AnalyzeQuery")
    }
}

impl ExecutionPlan for AnalyzeQuery {
    fn name(&self) -> &'static str {
        "AnalyzeQuery"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let (query, schema) = (Arc::clone(&self.query), self.schema());
        let told = told(query, Arc::clone(&schema));
        let told = stream::once(async { Ok(told.await?) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, told)))
    }
}

async fn told(query: Arc<ClusterQuery>, schema: SchemaRef) -> Result<RecordBatch> {
    let stages = query.stages_when_done().await?;
    let stages = stages.iter().map(stage).collect::<Result<Vec<_>>>()?;
    let row = [vec!["Plan with Metrics".to_string()], vec![stages.join("\n")]];
    let columns = row.map(|cell| Arc::new(StringArray::from(cell)) as _);
    RecordBatch::try_new(schema, columns.into())
        .map_err(|cause| Error::bug("EXPLAIN ANALYZE has another schema").caused_by(cause))
}

/// A stage: who worked on it, and its operators.
fn stage(stage: &JobStageMetrics) -> Result<String> {
    let worked = stage.operators.iter().find(|operator| operator.operator_type == EXECUTORS);
    let worked = worked.map_or("nobody", |operator| &operator.operator_desc);
    let mut text = format!("stage {} on {worked}\n", stage.stage_id);
    for operator in &stage.operators {
        if operator.operator_type != EXECUTORS {
            text += &line(operator)?;
        }
    }
    Ok(text)
}

fn line(operator: &OperatorWithMetrics) -> Result<String> {
    let indent = "  ".repeat(operator.depth as usize + 1);
    let metrics = OperatorMetricsSet { metrics: operator.metrics.clone() };
    let metrics: MetricsSet = metrics
        .try_into()
        .map_err(|cause| Error::bug("metrics of an unknown kind").caused_by(cause))?;
    let metrics = metrics.aggregate_by_name().sorted_for_display().timestamps_removed();
    Ok(format!("{indent}{}, metrics=[{metrics}]\n", operator.operator_desc))
}
