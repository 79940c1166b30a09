//! Turns region descriptors into rows: one row per element, a column per dimension and variable.
//!
//! Stage: physical execution. In: descriptor rows (`first`, `count`): runs of chunk ordinals. Out:
//! record batches, zero-copy slices of decoded blocks.
//!
//! What is read is decided by the descriptor rows and never by the partition number: a cluster
//! slices the leaf below and numbers partitions anew in every task.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};

use crate::array::{ArraySource, Block, Grid, ReadCounters, Region};
use crate::{Error, Result};

/// One output column of an array scan.
#[derive(Clone, Debug)]
pub enum ArrayColumn {
    /// The 0-based index on this axis.
    Dimension(usize),
    /// The elements of an array.
    Variable(Arc<dyn ArraySource>),
}

/// What a scan reads: columns of a box of an array table, chunk by chunk.
#[derive(Debug)]
pub struct ArrayScan {
    /// The table's name for people.
    pub name: String,
    /// The box; rows outside it are not produced.
    pub region: Region,
    /// The grid in whose chunks the box is read.
    pub grid: Grid,
    /// Output columns.
    pub columns: Vec<ArrayColumn>,
    /// The fields of the output columns.
    pub schema: SchemaRef,
}

impl ArrayScan {
    /// How many chunks the box touches.
    pub fn chunk_count(&self) -> u64 {
        if self.region.is_empty() {
            return 0;
        }
        self.grid.positions_touching(&self.region).element_count()
    }

    /// The physical plan: descriptors of contiguous runs of chunks under an [`ArrayExec`].
    ///
    /// # Errors
    /// `Bug` if DataFusion refuses the descriptors.
    pub fn into_plan(self, partition_count: usize) -> DfResult<Arc<dyn ExecutionPlan>> {
        let chunks = self.chunk_count();
        let partitions = (partition_count as u64).clamp(1, chunks.max(1));
        let schema = descriptor_schema();
        let batches = (0..partitions)
            .map(|index| {
                let (first, end) = (index * chunks / partitions, (index + 1) * chunks / partitions);
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(UInt64Array::from(vec![first])),
                    Arc::new(UInt64Array::from(vec![end - first])),
                ];
                Ok(vec![RecordBatch::try_new(Arc::clone(&schema), columns)?])
            })
            .collect::<DfResult<Vec<_>>>()?;
        let leaf = MemorySourceConfig::try_new_exec(&batches, schema, None)?;
        Ok(Arc::new(ArrayExec::new(Arc::new(self), leaf)))
    }

    /// The box of the touched chunk number `index`, cut to the scan's box.
    fn region_of(&self, index: u64) -> Option<Region> {
        let positions = self.grid.positions_touching(&self.region);
        let position: Vec<u64> = crate::array::unravel(index, positions.shape())
            .iter()
            .zip(positions.start())
            .map(|(offset, start)| offset + start)
            .collect();
        self.grid.region_at(&position).intersect(&self.region)
    }
}

fn descriptor_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("first", DataType::UInt64, false),
        Field::new("count", DataType::UInt64, false),
    ]))
}

/// The operator that reads arrays. Unary: its child holds the descriptors.
#[derive(Debug)]
pub struct ArrayExec {
    scan: Arc<ArrayScan>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ArrayExec {
    fn new(scan: Arc<ArrayScan>, input: Arc<dyn ExecutionPlan>) -> Self {
        let partitions = input.properties().partitioning.partition_count();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&scan.schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self { scan, input, properties, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl ArrayExec {
    /// Chunks read so far, and in all.
    pub fn work(&self) -> (u64, u64) {
        let read = self.metrics.clone_inner().sum_by_name("chunks_read");
        (read.map_or(0, |count| count.as_usize() as u64), self.scan.chunk_count())
    }
}

impl DisplayAs for ArrayExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let names: Vec<&str> =
            self.scan.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(
            f,
            "ArrayExec: {}, region={}, chunks={}, columns=[{}]",
            self.scan.name,
            self.scan.region,
            self.scan.chunk_count(),
            names.join(", ")
        )
    }
}

impl ExecutionPlan for ArrayExec {
    fn name(&self) -> &str {
        "ArrayExec"
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
            (Some(child), true) => Ok(Arc::new(Self::new(Arc::clone(&self.scan), child))),
            _ => Err(Error::bug("ArrayExec takes exactly one child").into()),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let batch_rows = context.session_config().batch_size();
        let scan = Arc::clone(&self.scan);
        let meters = Meters::new(&self.metrics, partition);
        let descriptors = self.input.execute(partition, context)?;
        let indices = descriptors
            .map(|batch| Ok::<_, DataFusionError>(stream::iter(chunk_indices(&batch?)?).map(Ok)))
            .try_flatten();
        let reading = Arc::clone(&scan);
        let batches = indices
            .and_then(move |index| read_chunk(Arc::clone(&reading), index, meters.clone()))
            .map_ok(move |batch| stream::iter(slices(batch, batch_rows)).map(Ok))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&scan.schema), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> DfResult<Arc<Statistics>> {
        if partition.is_some() {
            return Ok(Arc::new(Statistics::new_unknown(&self.scan.schema)));
        }
        let rows = usize::try_from(self.scan.region.element_count()).unwrap_or(usize::MAX);
        let column_statistics =
            self.scan.columns.iter().map(|column| self.column_statistics(column)).collect();
        Ok(Arc::new(Statistics {
            num_rows: Precision::Exact(rows),
            total_byte_size: Precision::Absent,
            column_statistics,
        }))
    }
}

impl ArrayExec {
    fn column_statistics(&self, column: &ArrayColumn) -> ColumnStatistics {
        let region = &self.scan.region;
        let ArrayColumn::Dimension(axis) = column else {
            return ColumnStatistics::new_unknown();
        };
        if region.is_empty() {
            return ColumnStatistics::new_unknown();
        }
        let range = region.range(*axis);
        let bound = |index: u64| Precision::Exact(ScalarValue::Int64(Some(index as i64)));
        ColumnStatistics {
            null_count: Precision::Exact(0),
            min_value: bound(range.start),
            max_value: bound(range.end - 1),
            ..ColumnStatistics::new_unknown()
        }
    }
}

/// The counters that `EXPLAIN ANALYZE` shows.
#[derive(Clone)]
struct Meters {
    baseline: BaselineMetrics,
    chunks_read: Count,
    bytes_read: Count,
    bytes_decoded: Count,
}

impl Meters {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let counter = |name: &'static str| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            baseline: BaselineMetrics::new(metrics, partition),
            chunks_read: counter("chunks_read"),
            bytes_read: counter("bytes_read"),
            bytes_decoded: counter("bytes_decoded"),
        }
    }

    fn add(&self, counters: ReadCounters, rows: usize) {
        self.chunks_read.add(counters.chunk_count.into_inner() as usize);
        self.bytes_read.add(counters.read_bytes.into_inner() as usize);
        self.bytes_decoded.add(counters.decoded_bytes.into_inner() as usize);
        self.baseline.record_output(rows);
    }
}

fn chunk_indices(descriptors: &RecordBatch) -> DfResult<Vec<u64>> {
    let column = |index: usize| {
        let column = descriptors.column(index).as_primitive_opt::<UInt64Type>();
        column.ok_or_else(|| DataFusionError::from(Error::bug("descriptors are not u64")))
    };
    let (first, count) = (column(0)?, column(1)?);
    let runs = first.values().iter().zip(count.values());
    Ok(runs.flat_map(|(first, count)| *first..first + count).collect())
}

/// Fetches and decodes one chunk of every variable, away from the async threads.
async fn read_chunk(scan: Arc<ArrayScan>, index: u64, meters: Meters) -> DfResult<RecordBatch> {
    let Some(region) = scan.region_of(index) else {
        return Ok(RecordBatch::new_empty(Arc::clone(&scan.schema)));
    };
    let mut fetched = Vec::with_capacity(scan.columns.len());
    for column in &scan.columns {
        fetched.push(match column {
            ArrayColumn::Dimension(_) => None,
            ArrayColumn::Variable(source) => Some(source.fetch(&region).await?),
        });
    }
    let work = move || -> Result<RecordBatch> {
        let timer = meters.baseline.elapsed_compute().timer();
        let counters = ReadCounters::default();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(scan.columns.len());
        for (column, bytes) in scan.columns.iter().zip(fetched) {
            columns.push(match column {
                ArrayColumn::Dimension(axis) => dimension_values(&region, *axis),
                ArrayColumn::Variable(source) => {
                    let block: Block =
                        source.decode(&region, bytes.unwrap_or_default(), &counters)?;
                    Arc::clone(block.values())
                }
            });
        }
        let rows = region.element_count() as usize;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&scan.schema), columns, &options)
            .map_err(|cause| Error::bug("a block does not fit its scan").caused_by(cause))?;
        meters.add(counters, rows);
        timer.done();
        Ok(batch)
    };
    let outcome = SpawnedTask::spawn_blocking(work).join().await;
    let outcome =
        outcome.map_err(|cause| Error::bug("reading a chunk panicked").caused_by(cause))?;
    Ok(outcome?)
}

fn dimension_values(region: &Region, axis: usize) -> ArrayRef {
    let inner: u64 = region.shape()[axis + 1..].iter().product();
    let outer: u64 = region.shape()[..axis].iter().product();
    let mut values = Vec::with_capacity(region.element_count() as usize);
    for _ in 0..outer {
        for index in region.range(axis) {
            values.extend(std::iter::repeat_n(index as i64, inner as usize));
        }
    }
    Arc::new(Int64Array::from(values))
}

fn slices(batch: RecordBatch, rows_max: usize) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    let step = rows_max.max(1);
    (0..rows).step_by(step).map(|at| batch.slice(at, step.min(rows - at))).collect()
}
