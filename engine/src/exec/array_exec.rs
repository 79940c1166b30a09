//! The operator that reads arrays: descriptor rows in, rows or partial states out.
//!
//! Stage: physical execution. In: descriptor rows (`first`, `count`): runs of read boxes. Out:
//! record batches. It owns waiting, threads and memory; what is made of a box is `read_box`.
//!
//! What is read is decided by the descriptor rows and never by the partition number: a cluster
//! slices the leaf below and numbers partitions anew in every task.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use super::array_scan::{ArrayColumn, ArrayScan, Output};
use super::compute_threads::ComputeThreads;
use super::descriptors::runs_of;
use super::read_box::{ColumnRead, Passing};
use super::reduce::BoxStates;
use super::uniform::what_is_read;
use crate::array::{ChunkCache, ReadContext, ReadCounters, Region};
use crate::{Error, Result};

/// Boxes whose stored bytes are fetched ahead of the one that is decoded, for each partition.
const FETCHES_AHEAD: usize = 3;
/// Decoded chunks are kept up to so many bytes.
const CACHE_BYTES_MAX: usize = 256 << 20;
/// Decoded chunks are kept up to this part of a session's memory limit.
const CACHE_SHARE: usize = 4;
/// Boxes that are pruned together.
const PRUNED_TOGETHER: u64 = 1024;

/// The operator that reads arrays. Unary: its child holds the descriptors.
#[derive(Debug)]
pub struct ArrayExec {
    scan: Arc<ArrayScan>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    boxes_done: Arc<AtomicU64>,
    /// Shared by the partitions; made when the first of them runs.
    cache: Arc<OnceLock<Option<Arc<ChunkCache>>>>,
}

impl ArrayExec {
    /// Reads what `scan` says for the descriptors that `input` gives.
    pub fn new(scan: Arc<ArrayScan>, input: Arc<dyn ExecutionPlan>) -> Self {
        let partitions = input.properties().partitioning.partition_count();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&scan.schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        let metrics = ExecutionPlanMetricsSet::new();
        Self { scan, input, properties, metrics, boxes_done: Arc::default(), cache: Arc::default() }
    }

    /// What is read and given.
    pub fn scan(&self) -> &ArrayScan {
        &self.scan
    }

    /// How many read boxes are done, and how many there are.
    pub fn work(&self) -> (u64, u64) {
        (self.boxes_done.load(Ordering::Relaxed), self.scan.box_count())
    }

    /// Bytes of the decoded elements of everything that is read.
    pub fn bytes_total(&self) -> u64 {
        self.scan.bytes_of(&self.scan.region) as u64
    }
}

impl DisplayAs for ArrayExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let scan = &self.scan;
        let boxes = scan.box_count();
        write!(f, "ArrayExec: {}, region={}, boxes={boxes}", scan.name, scan.region)?;
        for filter in [&scan.dimension_filter, &scan.value_filter].into_iter().flatten() {
            write!(f, ", filter={}", filter.expr)?;
        }
        match &scan.output {
            Output::Rows(_) => {
                let fields = scan.schema.fields().iter();
                let names: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
                write!(f, ", columns=[{}]", names.join(", "))
            }
            Output::States(reduction, _) => {
                let keys = reduction.keys.iter().map(|key| match key.divisor {
                    1 => scan.dims[key.axis].clone(),
                    divisor => format!("{}/{divisor}", scan.dims[key.axis]),
                });
                let states = reduction.states.iter().map(|state| match &state.argument {
                    None => format!("{:?}", state.kind),
                    Some(argument) => format!("{:?}({argument})", state.kind),
                });
                let keys: Vec<String> = keys.collect();
                let states: Vec<String> = states.collect();
                write!(f, ", groups=[{}], states=[{}]", keys.join(", "), states.join(", "))
            }
        }
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
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        let filters = [&self.scan.dimension_filter, &self.scan.value_filter];
        for filter in filters.into_iter().flatten() {
            if visit(&filter.expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        if let Output::States(reduction, _) = &self.scan.output {
            for expr in reduction.expressions() {
                if visit(expr)? == TreeNodeRecursion::Stop {
                    return Ok(TreeNodeRecursion::Stop);
                }
            }
        }
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
        let config = context.session_config();
        let threads = config.get_extension::<ComputeThreads>();
        let threads =
            threads.unwrap_or_else(|| Arc::new(ComputeThreads::new(config.target_partitions())));
        let consumer = MemoryConsumer::new(format!("ArrayExec[{partition}] {}", self.scan.name));
        let memory = consumer.register(context.memory_pool());
        let lane = |_| Mutex::new(OpenStates { states: None, memory: memory.new_empty() });
        let reader = Arc::new(Reader {
            scan: Arc::clone(&self.scan),
            lanes: (0..boxes_ahead(&self.scan)).map(lane).collect(),
            meters: Meters::new(&self.metrics, partition),
            boxes_done: Arc::clone(&self.boxes_done),
            threads,
            batch_rows: config.batch_size(),
            cache: self.cache.get_or_init(|| self.chunk_cache(&context)).clone(),
            memory,
            runtime: context.runtime_env(),
        });
        let schema = Arc::clone(&self.scan.schema);
        let descriptors = self.input.execute(partition, context)?;
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, read_all(reader, descriptors))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> DfResult<Arc<Statistics>> {
        let unknown = Statistics::new_unknown(&self.scan.schema);
        let (None, Output::Rows(columns)) = (partition, &self.scan.output) else {
            return Ok(Arc::new(unknown));
        };
        let rows = usize::try_from(self.scan.region.element_count()).unwrap_or(usize::MAX);
        if !self.scan.is_unfiltered() {
            return Ok(Arc::new(Statistics { num_rows: Precision::Inexact(rows), ..unknown }));
        }
        let column_statistics = columns.iter().map(|column| self.column_statistics(*column));
        Ok(Arc::new(Statistics {
            num_rows: Precision::Exact(rows),
            total_byte_size: Precision::Absent,
            column_statistics: column_statistics.collect(),
        }))
    }
}

impl ArrayExec {
    /// A cache, if boxes read parts of the chunks of others.
    fn chunk_cache(&self, context: &TaskContext) -> Option<Arc<ChunkCache>> {
        let whole = Region::whole(self.scan.grid.chunk_shape());
        let first = whole.intersect(&Region::whole(self.scan.grid.array_shape()))?;
        if !self.scan.reads_more_than(&first) {
            return None;
        }
        let pool = context.memory_pool();
        let bytes_max = match pool.memory_limit() {
            MemoryLimit::Finite(bytes) => (bytes / CACHE_SHARE).min(CACHE_BYTES_MAX),
            _ => CACHE_BYTES_MAX,
        };
        let consumer = MemoryConsumer::new(format!("chunks of {}", self.scan.name));
        Some(Arc::new(ChunkCache::new(bytes_max, consumer.register(pool))))
    }

    fn column_statistics(&self, column: usize) -> ColumnStatistics {
        let region = &self.scan.region;
        let ArrayColumn::Dimension(axis) = &self.scan.columns[column] else {
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
struct Meters {
    baseline: BaselineMetrics,
    boxes_pruned: Count,
    chunks_read: Count,
    bytes_read: Count,
    bytes_decoded: Count,
    cache_hits: Count,
}

impl Meters {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let counter = |name: &'static str| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            baseline: BaselineMetrics::new(metrics, partition),
            boxes_pruned: counter("boxes_pruned"),
            chunks_read: counter("chunks_read"),
            bytes_read: counter("bytes_read"),
            bytes_decoded: counter("bytes_decoded"),
            cache_hits: counter("cache_hits"),
        }
    }

    fn add(&self, counters: &ReadCounters, rows: usize) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as usize;
        self.chunks_read.add(count(&counters.chunk_count));
        self.bytes_read.add(count(&counters.read_bytes));
        self.bytes_decoded.add(count(&counters.decoded_bytes));
        self.cache_hits.add(count(&counters.cache_hits));
        self.baseline.record_output(rows);
    }
}

/// Bytes that batches hold, those that they share counted each time.
fn rows_bytes(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::get_array_memory_size).fold(0, usize::saturating_add)
}

/// What reads the boxes of one partition.
struct Reader {
    scan: Arc<ArrayScan>,
    meters: Meters,
    boxes_done: Arc<AtomicU64>,
    threads: Arc<ComputeThreads>,
    batch_rows: usize,
    cache: Option<Arc<ChunkCache>>,
    memory: MemoryReservation,
    runtime: Arc<RuntimeEnv>,
    /// As many as boxes are decoded at once; they take the boxes in turn, so that which boxes are
    /// added to which states does not depend on threads.
    lanes: Vec<Mutex<OpenStates>>,
}

/// The states to which the next box of a lane is added, if it has the same groups.
struct OpenStates {
    states: Option<BoxStates>,
    memory: MemoryReservation,
}

/// A box that is to be decoded, with what was fetched for it.
struct Fetching {
    region: Region,
    passing: Passing,
    fetched: Vec<ColumnRead>,
    context: ReadContext,
}

fn read_all(
    reader: Arc<Reader>,
    descriptors: SendableRecordBatchStream,
) -> impl futures::Stream<Item = DfResult<RecordBatch>> {
    let (pruning, last) = (Arc::clone(&reader), Arc::clone(&reader));
    let lanes = reader.lanes.len();
    let regions = descriptors
        .map(move |rows| Ok::<_, DataFusionError>(stream::iter(windows(&rows?)?).map(Ok)))
        .try_flatten()
        .then(move |window: DfResult<_>| {
            let pruning = Arc::clone(&pruning);
            async move {
                // where no box matches for long, others go on meanwhile
                tokio::task::consume_budget().await;
                let regions = pruning.matching(window?)?;
                Ok::<_, DataFusionError>(stream::iter(regions).map(Ok))
            }
        })
        .try_flatten();
    // Fetching and decoding both run ahead of what is taken, so that threads and network stay busy.
    let fetching = Arc::clone(&reader);
    regions
        .map(move |region: DfResult<Region>| {
            let reader = Arc::clone(&fetching);
            async move { reader.fetch(region?).await }
        })
        .buffered(FETCHES_AHEAD)
        .try_filter_map(async |fetching| Ok(fetching))
        .enumerate()
        .map(move |(number, fetching)| {
            let reader = Arc::clone(&reader);
            async move { reader.read(fetching?, number % lanes).await }
        })
        .buffered(lanes)
        .map_ok(|(batches, held)| {
            // What a box takes is given back when its last batch has been taken.
            stream::iter(batches).map(move |batch| {
                let _ = &held;
                Ok(batch)
            })
        })
        .try_flatten()
        .chain(stream::iter(0..lanes).filter_map(move |lane| {
            let states = last.lanes[lane].lock().states.take();
            let states = states.map(|states| last.finish(states));
            async move { states }
        }))
}

/// How many boxes are decoded at once: two where they are small, so that a thread never waits for
/// the next.
fn boxes_ahead(scan: &ArrayScan) -> usize {
    const SMALL_BYTES: usize = 8 << 20;
    let whole = Region::whole(scan.grid.chunk_shape());
    if scan.bytes_of(&whole) <= SMALL_BYTES { 2 } else { 1 }
}

/// The box numbers that descriptor rows name, in windows that are pruned together. They are made one by
/// one: an array may have more of them than memory holds.
fn windows(
    descriptors: &RecordBatch,
) -> Result<impl Iterator<Item = std::ops::Range<u64>> + Send + use<>> {
    Ok(runs_of(descriptors)?.into_iter().flat_map(|run| {
        let end = run.end;
        run.step_by(PRUNED_TOGETHER as usize)
            .map(move |start| start..start.saturating_add(PRUNED_TOGETHER).min(end))
    }))
}

impl Reader {
    /// The boxes of a window that may hold an element that passes.
    fn matching(&self, window: std::ops::Range<u64>) -> DfResult<Vec<Region>> {
        let regions: Vec<Region> = window.map(|index| self.scan.box_region(index)).collect();
        let matching = self.scan.boxes_that_may_match(&regions)?;
        let kept = regions.into_iter().zip(matching).filter(|(_, matches)| {
            if !matches {
                self.pruned();
            }
            *matches
        });
        Ok(kept.map(|(region, _)| region).collect())
    }

    fn pruned(&self) {
        self.meters.boxes_pruned.add(1);
        self.boxes_done.fetch_add(1, Ordering::Relaxed);
    }

    /// Brings the stored bytes of a box, unless its dimensions tell that nothing in it passes.
    async fn fetch(self: &Arc<Self>, region: Region) -> DfResult<Option<Fetching>> {
        let passing = if self.scan.dimension_filter.is_none() {
            Passing::All
        } else {
            let (reader, region) = (Arc::clone(self), region.clone());
            self.threads.run(move || reader.scan.dimensions_pass(&region)).await?
        };
        if let Passing::None = passing {
            self.pruned();
            return Ok(None);
        }
        let context = ReadContext::new(self.cache.clone(), Arc::clone(&self.runtime));
        let (mut reads, mut wanted) = (vec![], vec![]);
        for (column, source) in self.scan.reading_order(&region) {
            let part = what_is_read(source.as_ref(), &region);
            wanted.push((Arc::clone(source), part.clone()));
            reads.push((column, part));
        }
        let stored = context.fetch_all(wanted).await?;
        let fetched = reads.into_iter().zip(stored);
        let fetched = fetched.map(|((column, part), stored)| ColumnRead { column, part, stored });
        let fetched = fetched.collect();
        Ok(Some(Fetching { region, passing, fetched, context }))
    }

    /// The rows of states to which no box will be added.
    fn finish(&self, states: BoxStates) -> DfResult<RecordBatch> {
        let batch = states.finish()?;
        self.meters.baseline.record_output(batch.num_rows());
        Ok(batch)
    }

    /// Decodes a box and makes of it what the scan gives, with the memory that this holds.
    async fn read(
        self: &Arc<Self>,
        fetching: Fetching,
        lane: usize,
    ) -> DfResult<(Vec<RecordBatch>, MemoryReservation)> {
        let Fetching { region, passing, fetched, context } = fetching;
        let reader = Arc::clone(self);
        let read = self.threads.run(move || {
            let held = reader.memory.new_empty();
            held.try_grow(reader.scan.working_bytes(&region))?;
            let timer = reader.meters.baseline.elapsed_compute().timer();
            let mut states = reader.lanes[lane].lock().states.take();
            let (scan, rows_max) = (&reader.scan, reader.batch_rows);
            let mut batches =
                scan.read_box(&region, fetched, &passing, rows_max, &context, &mut states)?;
            timer.done();
            let rows = batches.iter().map(RecordBatch::num_rows).sum();
            reader.meters.add(&context.counters, rows);
            drop(context);
            let bytes = states.as_ref().map_or(0, BoxStates::bytes);
            let mut open = reader.lanes[lane].lock();
            if open.memory.try_resize(bytes).is_err() {
                open.memory.free();
                batches.extend(states.take().map(|states| reader.finish(states)).transpose()?);
            }
            open.states = states;
            drop(open);
            match reader.scan.output {
                Output::States(..) => drop(held.free()),
                Output::Rows(_) => held.shrink(held.size() - held.size().min(rows_bytes(&batches))),
            }
            Ok((batches, held))
        });
        let read = read.await?;
        self.boxes_done.fetch_add(1, Ordering::Relaxed);
        Ok(read)
    }
}
