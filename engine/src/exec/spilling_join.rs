//! Joins by hash table that sort where the table does not fit into memory.
//!
//! Stage: physical, the last step of planning in one process; and running. In: a `HashJoinExec`. Out: the
//! same join. DataFusion 55 refuses a join whose hash table does not fit (apache/datafusion#24768 is about
//! spilling it). Here each of its partitions begins with a hash table. If that does not fit, the rows
//! collected for it are written to disk, both sides are sorted, and a sort-merge join goes on. Nothing is
//! read twice and nothing was given out before, as a join gives no row until its table is complete. When
//! one partition turns to sorting, those that still collect do too, so that memory is free for sorts.
//!
//! Without a memory limit it is the `HashJoinExec`. Not here: joins that are left as they are, and are
//! refused if they do not fit: see [`sortable`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::resources_datafusion_err;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, PlanProperties,
};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use parking_lot::Mutex;

use self::build_memory::{BuildMemory, SortMemory};
use self::inputs::{HandedExec, Inputs, Side};
use crate::Error;
use crate::walk::Walk;

mod build_memory;
mod inputs;
mod sorted;

/// A plan whose hash joins sort where memory does not suffice.
///
/// # Errors
/// `Bug` if an operator does not take its own children back.
pub fn spilling_joins(plan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
    let held = Arc::new(AtomicUsize::new(0));
    plan.change_up(&mut |plan| match plan.downcast_ref::<HashJoinExec>() {
        Some(join) if sortable(join) => {
            let join = join.builder().build()?;
            Ok(Transformed::yes(Arc::new(SpillingJoinExec::new(join, Arc::clone(&held))?) as _))
        }
        _ => Ok(Transformed::no(plan)),
    })
    .data()
}

/// Whether a sort-merge join gives the same rows.
fn sortable(join: &HashJoinExec) -> bool {
    // a table that all partitions of the other side share would be sorted in each
    let has_own_tables = match join.partition_mode() {
        PartitionMode::Partitioned => true,
        PartitionMode::CollectLeft => join.right().output_partitioning().partition_count() == 1,
        PartitionMode::Auto => false,
    };
    let (left, right) = (join.left().schema(), join.right().schema());
    let keys_sort = join.on().iter().all(|(on_left, on_right)| {
        match (on_left.data_type(&left), on_right.data_type(&right)) {
            (Ok(one), Ok(other)) => one == other && is_total(&one),
            _ => false,
        }
    });
    // an order that is promised above is made anew, which cannot be done for several at once
    let orders = join.properties().equivalence_properties().oeq_class().iter().count();
    let bounded = !join.properties().boundedness.is_unbounded();
    has_own_tables
        && keys_sort
        && orders <= 1
        && bounded
        && !join.null_aware
        && !join.on().is_empty()
}

/// Types whose values a sort-merge join compares as a hash join does. It has no order for NaN.
fn is_total(key: &DataType) -> bool {
    match key {
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(_, None)
        | DataType::Decimal128(..) => true,
        other => other.is_integer(),
    }
}

/// The join.
#[derive(Debug)]
struct SpillingJoinExec {
    join: HashJoinExec,
    /// The same, over inputs that are handed to it.
    hashed: Arc<HashJoinExec>,
    handed: [Arc<HandedExec>; 2],
    /// What the hash tables of all joins of the query hold.
    held: Arc<AtomicUsize>,
    /// Whether a partition has turned to sorting.
    turned: Arc<AtomicBool>,
    /// The joins of the partitions that have, for their metrics.
    sorted: Arc<Mutex<Vec<Arc<dyn ExecutionPlan>>>>,
}

impl SpillingJoinExec {
    fn new(join: HashJoinExec, held: Arc<AtomicUsize>) -> DfResult<Self> {
        let handed = [(join.left(), Side::Build), (join.right(), Side::Probe)];
        let handed = handed.map(|(plan, side)| Arc::new(HandedExec::new(Arc::clone(plan), side)));
        let [left, right] = handed.clone();
        let hashed = Arc::new(join.builder().with_new_children(vec![left, right])?.build()?);
        let (turned, sorted) = (Arc::default(), Arc::default());
        Ok(Self { join, hashed, handed, held, turned, sorted })
    }
}

/// The same context with memory from another pool.
fn with_memory(context: &TaskContext, pool: Arc<dyn MemoryPool>) -> TaskContext {
    let runtime = RuntimeEnv { memory_pool: pool, ..context.runtime_env().as_ref().clone() };
    let settings = context.session_config().clone();
    super::with_settings(context, settings).with_runtime(Arc::new(runtime))
}

impl DisplayAs for SpillingJoinExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        self.join.fmt_as(kind, f)
    }
}

impl ExecutionPlan for SpillingJoinExec {
    fn name(&self) -> &'static str {
        "HashJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.join.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.join.children()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.join.input_distribution_requirements()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        self.join.apply_expressions(visit)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let join = self.join.builder().with_new_children(children)?;
        Ok(Arc::new(Self::new(join.build()?, Arc::clone(&self.held))?))
    }

    fn reset_state(self: Arc<Self>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let join = self.join.builder().reset_state().build()?;
        Ok(Arc::new(Self::new(join, Arc::clone(&self.held))?))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        let mut metrics = self.join.metrics().unwrap_or_default();
        for plan in self.sorted.lock().iter() {
            plan.metrics()
                .iter()
                .flat_map(MetricsSet::iter)
                .for_each(|one| metrics.push(one.clone()));
            plan.children().into_iter().for_each(|child| add_spills(child.as_ref(), &mut metrics));
        }
        Some(metrics)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let MemoryLimit::Finite(bytes_max) = context.memory_pool().memory_limit() else {
            return self.join.execute(partition, context);
        };
        let rows = [self.join.left(), self.join.right()];
        let [left, right] = rows.map(|side| side.execute(partition, Arc::clone(&context)));
        let inputs = Arc::new(Inputs::new(left?, right?, Arc::clone(&self.turned)));
        for handed in &self.handed {
            handed.hand(partition, Arc::clone(&inputs));
        }
        let pool = Arc::clone(context.memory_pool());
        let for_table = BuildMemory::new(Arc::clone(&pool), Arc::clone(&self.held), bytes_max);
        let for_table = Arc::new(with_memory(&context, Arc::new(for_table)));
        let for_sorts = with_memory(&context, Arc::new(SortMemory::new(pool, bytes_max)));
        let hashed = Arc::clone(&self.hashed);
        let (turned, sorted) = (Arc::clone(&self.turned), Arc::clone(&self.sorted));
        let schema = self.schema();
        let joined = async move {
            let mut rows = hashed.execute(partition, for_table)?;
            let rows = match rows.next().await {
                Some(Err(cause)) if is_exhausted(&cause) && inputs.may_turn() => {
                    drop(rows);
                    turned.store(true, Ordering::Relaxed);
                    let (build, probe) = inputs.taken(&for_sorts).await.map_err(neither)?;
                    let rows = sorted::joined(&hashed, build, probe, &for_sorts, &sorted)?;
                    as_of(&hashed, rows.map_err(neither))
                }
                first => as_of(&hashed, stream::iter(first).chain(rows)),
            };
            Ok::<_, DataFusionError>(rows)
        };
        let joined = stream::once(joined).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, joined)))
    }
}

/// Rows of a join.
fn as_of(
    join: &HashJoinExec,
    rows: impl Stream<Item = DfResult<RecordBatch>> + Send + 'static,
) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(join.schema(), rows))
}

fn is_exhausted(cause: &DataFusionError) -> bool {
    matches!(cause.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// An error of sorting that is about memory says that a hash table did not do either.
fn neither(cause: DataFusionError) -> DataFusionError {
    match cause.find_root() {
        DataFusionError::ResourcesExhausted(message) => resources_datafusion_err!(
            "the rows of a join are sorted, as the hash table of its HashJoinExec does not fit into memory, \
             and sorting them does not either: {message}"
        ),
        _ => cause,
    }
}

/// What a plan below a sort-merge join has spilled.
fn add_spills(plan: &dyn ExecutionPlan, metrics: &mut MetricsSet) {
    for metric in plan.metrics().iter().flat_map(MetricsSet::iter) {
        let spills = matches!(
            metric.value(),
            MetricValue::SpillCount(_) | MetricValue::SpilledBytes(_) | MetricValue::SpilledRows(_)
        );
        if spills {
            metrics.push(Arc::clone(metric));
        }
    }
    plan.children().into_iter().for_each(|child| add_spills(child.as_ref(), metrics));
}

/// A batch under the names and with the columns that the join gives.
fn given(join: &HashJoinExec, batch: &RecordBatch) -> DfResult<RecordBatch> {
    let columns = match &join.projection {
        None => batch.columns().to_vec(),
        Some(kept) => {
            let columns = kept.iter().map(|index| batch.columns().get(*index).cloned());
            let columns: Option<Vec<_>> = columns.collect();
            columns.ok_or_else(|| Error::bug("a join lacks a column that it gives"))?
        }
    };
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(join.schema(), columns, &options)?)
}

#[cfg(test)]
mod tests;
