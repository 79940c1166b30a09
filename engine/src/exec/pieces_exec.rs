//! A leaf of a plan that a cluster would not cut right, as pieces that descriptors name.
//!
//! Ballista cuts the leaves of a plan for each task, but only those that it knows. One that it does
//! not know runs whole in every task of a UNION, so that rows come several times; one row without a
//! table (`SELECT 1`) makes such a query wait for ever; and DataFusion writes a scan of files without
//! their compression. This operator stands in the place of such a leaf and holds it whole. In:
//! descriptors, which say which of the leaf's partitions to run. Out: their rows.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};

use super::descriptors::{descriptors, runs_of};
use crate::Error;
use crate::walk::Walk;

/// Runs partitions of a leaf.
#[derive(Debug)]
pub struct PiecesExec {
    leaf: Arc<dyn ExecutionPlan>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl PiecesExec {
    /// Runs the partitions of `leaf` that the rows of `input` name.
    pub fn new(leaf: Arc<dyn ExecutionPlan>, input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(leaf.schema()),
            Partitioning::UnknownPartitioning(input.properties().partitioning.partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self { leaf, input, properties, metrics: ExecutionPlanMetricsSet::new() }
    }

    /// The whole leaf.
    pub fn leaf(&self) -> &Arc<dyn ExecutionPlan> {
        &self.leaf
    }
}

/// How the files of a scan are compressed, if they are.
pub fn compression_of(plan: &dyn ExecutionPlan) -> Option<FileCompressionType> {
    let scan = plan.downcast_ref::<DataSourceExec>()?;
    let files = scan.data_source().downcast_ref::<FileScanConfig>()?;
    let compression = files.file_compression_type;
    (compression != FileCompressionType::UNCOMPRESSED).then_some(compression)
}

impl DisplayAs for PiecesExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("PiecesExec: ")?;
        self.leaf.fmt_as(kind, f)
    }
}

impl ExecutionPlan for PiecesExec {
    fn name(&self) -> &'static str {
        "PiecesExec"
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
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        self.leaf.apply_expressions(visit)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(child), true) => Ok(Arc::new(Self::new(Arc::clone(&self.leaf), child))),
            _ => Err(Error::bug("PiecesExec takes exactly one child").into()),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let leaf = Arc::clone(&self.leaf);
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        let pieces = rows
            .map(|rows| -> DfResult<_> { Ok(runs_of(&rows?)?) })
            .map_ok(|runs| stream::iter(runs.into_iter().flatten().map(Ok)))
            .try_flatten();
        let batches = pieces
            .map(move |piece: DfResult<u64>| run(&leaf, piece? as usize, Arc::clone(&context)))
            .try_flatten()
            .inspect_ok(move |batch| baseline.record_output(batch.num_rows()));
        // so that a cancelled query ends: the rule that sees to it ran before this was put in
        let batches = RecordBatchStreamAdapter::new(self.schema(), batches);
        Ok(Box::pin(cooperative(batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// Runs one partition of a leaf and nothing of the others: in a scan of files, one that runs takes
/// over the files of those that do not.
fn run(
    leaf: &Arc<dyn ExecutionPlan>,
    partition: usize,
    context: Arc<TaskContext>,
) -> DfResult<SendableRecordBatchStream> {
    let scan = leaf.downcast_ref::<DataSourceExec>();
    let files = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
    let Some(files) = files else { return leaf.execute(partition, context) };
    let group = files.file_groups.get(partition).cloned();
    let group = group.ok_or_else(|| Error::bug("a piece of a scan that it does not have"))?;
    let files = FileScanConfigBuilder::from(files.clone()).with_file_groups(vec![group]);
    DataSourceExec::from_data_source(files.build()).execute(0, context)
}

/// Puts the operator in the place of every leaf that needs it.
#[derive(Debug)]
pub struct CutLeaves;

/// Whether Ballista cuts a leaf, and DataFusion writes all of it.
fn is_cut_well(leaf: &Arc<dyn ExecutionPlan>) -> bool {
    let Some(scan) = leaf.downcast_ref::<DataSourceExec>() else { return false };
    let source = scan.data_source();
    let known = source.is::<FileScanConfig>() || source.is::<MemorySourceConfig>();
    known && compression_of(leaf.as_ref()).is_none()
}

impl PhysicalOptimizerRule for CutLeaves {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let changed = plan.change_up(&mut |node| {
            if !node.children().is_empty() || is_cut_well(&node) {
                return Ok(Transformed::no(node));
            }
            let partitions = node.properties().partitioning.partition_count() as u64;
            let input = descriptors((0..partitions).map(|piece| piece..piece + 1))?;
            Ok(Transformed::yes(Arc::new(PiecesExec::new(node, input)) as _))
        })?;
        Ok(changed.data)
    }

    fn name(&self) -> &'static str {
        "cut_leaves"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
