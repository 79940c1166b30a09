//! A join of two streams by sorting both.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalExprRef, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::limit::LimitStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;

use super::given;
use crate::Error;
use crate::exec::constant_conditions::with_a_column;

/// Two sorts of a join keep for merging one of so many parts of what a sort alone would.
const RESERVATION_PARTS: usize = 2;
/// They take batches of one of so many parts of the rows of others: with repartitionings on both sides, each
/// has a small share of the memory, and it must hold several batches.
const BATCH_PARTS: usize = 8;

/// The rows that `join` gives for these inputs of one partition. The operators that make them are added to
/// `plans`.
pub fn joined(
    join: &Arc<HashJoinExec>,
    build: SendableRecordBatchStream,
    probe: SendableRecordBatchStream,
    context: &TaskContext,
    plans: &Mutex<Vec<Arc<dyn ExecutionPlan>>>,
) -> DfResult<SendableRecordBatchStream> {
    let mut settings = context.session_config().clone();
    settings.options_mut().execution.sort_spill_reservation_bytes /= RESERVATION_PARTS;
    let rows = (settings.batch_size() / BATCH_PARTS).max(1);
    settings = settings.with_batch_size(rows);
    let context = Arc::new(crate::exec::with_settings(context, settings));
    let (on_left, on_right): (Vec<_>, Vec<_>) = join.on().iter().cloned().unzip();
    let merge = SortMergeJoinExec::try_new(
        sort_by(in_pieces(build, rows), on_left)?,
        sort_by(in_pieces(probe, rows), on_right)?,
        join.on().to_vec(),
        join.filter().map(|condition| nullable(&with_a_column(condition, &join.left().schema()))),
        *join.join_type(),
        vec![SortOptions::default(); join.on().len()],
        join.null_equality(),
    )?;
    let merge: Arc<dyn ExecutionPlan> = Arc::new(merge);
    plans.lock().push(Arc::clone(&merge));
    let rows = merge.execute(0, Arc::clone(&context))?;
    let like = Arc::clone(join);
    let rows = rows.map(move |batch| given(&like, &batch?));
    let rows = Box::pin(RecordBatchStreamAdapter::new(join.schema(), rows));
    let rows = in_order(join, rows, &context, plans)?;
    match join.fetch() {
        None => Ok(rows),
        Some(count) => {
            let metrics = BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
            Ok(Box::pin(LimitStream::new(rows, 0, Some(count), metrics)))
        }
    }
}

/// A condition whose columns may be NULL: the merge evaluates it over rows of an outer join too.
fn nullable(condition: &JoinFilter) -> JoinFilter {
    let fields = condition.schema().fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    JoinFilter::new(
        Arc::clone(condition.expression()),
        condition.column_indices().to_vec(),
        Arc::new(Schema::new(fields.collect::<Vec<_>>())),
    )
}

/// The rows in the order that the join promises, which is that of its right side.
fn in_order(
    join: &HashJoinExec,
    rows: SendableRecordBatchStream,
    context: &Arc<TaskContext>,
    plans: &Mutex<Vec<Arc<dyn ExecutionPlan>>>,
) -> DfResult<SendableRecordBatchStream> {
    let Some(order) = join.properties().output_ordering() else { return Ok(rows) };
    let sort: Arc<dyn ExecutionPlan> =
        Arc::new(SortExec::new(order.clone(), Arc::new(GivenExec::new(rows))));
    plans.lock().push(Arc::clone(&sort));
    sort.execute(0, Arc::clone(context))
}

/// The same rows, no more than `count` in a batch.
fn in_pieces(rows: SendableRecordBatchStream, count: usize) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let rows = rows.map(move |batch| {
        let pieces = pieces(&batch?, count)?.into_iter().map(Ok::<_, DataFusionError>);
        Ok::<_, DataFusionError>(stream::iter(pieces))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows.try_flatten()))
}

/// A batch in pieces, each with memory of its own: sorts count what slices share for each of them.
fn pieces(batch: &RecordBatch, count: usize) -> DfResult<Vec<RecordBatch>> {
    let shares =
        |column: &ArrayRef| matches!(column.data_type(), DataType::Utf8View | DataType::BinaryView);
    if batch.num_rows() <= count && !batch.columns().iter().any(shares) {
        return Ok(vec![batch.clone()]);
    }
    let piece = |start: usize| {
        let rows = start..batch.num_rows().min(start + count);
        let rows = UInt64Array::from_iter_values(rows.map(|row| row as u64));
        let columns = batch.columns().iter().map(|column| {
            let column = take(column.as_ref(), &rows, None)?;
            Ok(match column.data_type() {
                DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
                DataType::BinaryView => Arc::new(column.as_binary_view().gc()) as ArrayRef,
                _ => column,
            })
        });
        let columns = columns.collect::<DfResult<Vec<_>>>()?;
        Ok(RecordBatch::try_new(batch.schema(), columns)?)
    };
    (0..batch.num_rows()).step_by(count).map(piece).collect()
}

fn sort_by(
    rows: SendableRecordBatchStream,
    keys: Vec<PhysicalExprRef>,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let keys =
        keys.into_iter().map(|expr| PhysicalSortExpr { expr, options: SortOptions::default() });
    let order = LexOrdering::new(keys).ok_or_else(|| Error::bug("a join without keys"))?;
    Ok(Arc::new(SortExec::new(order, Arc::new(GivenExec::new(rows)))))
}

/// A stream as an operator, which can be run once.
struct GivenExec {
    rows: Mutex<Option<SendableRecordBatchStream>>,
    properties: Arc<PlanProperties>,
}

impl GivenExec {
    fn new(rows: SendableRecordBatchStream) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(rows.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self { rows: Mutex::new(Some(rows)), properties }
    }
}

impl fmt::Debug for GivenExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GivenExec")
    }
}

impl DisplayAs for GivenExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("GivenExec")
    }
}

impl ExecutionPlan for GivenExec {
    fn name(&self) -> &'static str {
        "GivenExec"
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
        let rows = self.rows.lock().take();
        Ok(rows.ok_or_else(|| Error::bug("the rows of a join were read twice"))?)
    }
}
