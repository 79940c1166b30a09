//! Lists that UNNEST opens are counted first.
//!
//! Stage: a physical plan that is about to run. In: the plan. Out: the same, whose UNNESTs are given as many rows at
//! once as do not make too much. DataFusion opens about a batch at a time, but a row's list whole, with all other
//! columns once for each element; and lists in lists, batch by batch. Not here: what makes the lists.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};

use super::limit::ValueLimit;
use super::sizes::{row_bytes, row_leaves};
use crate::Error;
use crate::walk::Walk;

/// The plan, ready to run.
///
/// # Errors
/// `Bug` if an operator does not take its own children back.
pub fn limiting_unnest(plan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
    let limited = plan.change_up(&mut |plan| {
        let Some(unnest) = plan.downcast_ref::<UnnestExec>() else {
            return Ok(Transformed::no(plan));
        };
        let lists = unnest.list_column_indices().iter().map(|list| list.index_in_input_schema);
        let input = Arc::clone(unnest.input());
        let input = Arc::new(CountedLists { lists: lists.collect(), input });
        Ok(Transformed::yes(replace_children_if_necessary(plan, vec![input])?))
    });
    limited.data()
}

/// Gives the rows of its input, as many at once as can be opened.
#[derive(Debug)]
struct CountedLists {
    lists: Vec<usize>,
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for CountedLists {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("CountedLists")
    }
}

impl ExecutionPlan for CountedLists {
    fn name(&self) -> &'static str {
        "CountedLists"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
            (Some(input), true) => Ok(Arc::new(Self { lists: self.lists.clone(), input })),
            _ => Err(Error::bug("CountedLists takes exactly one child").into()),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let bytes_max = ValueLimit::of(context.session_config().options());
        let lists = self.lists.clone();
        let rows = self.input.execute(partition, context)?;
        let schema = rows.schema();
        let parts = rows
            .map(move |batch| {
                Ok::<_, datafusion::error::DataFusionError>(cut(&batch?, &lists, bytes_max)?)
            })
            .map_ok(|parts| stream::iter(parts).map(Ok))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, parts)))
    }
}

/// The batch in parts, of which each makes no more than may be made.
fn cut(batch: &RecordBatch, lists: &[usize], bytes_max: u64) -> Result<Vec<RecordBatch>, Error> {
    let rows = batch.num_rows();
    let mut copies = vec![0_u64; rows];
    let (mut opened, mut beside) = (vec![0_u64; rows], vec![0_u64; rows]);
    for (index, column) in batch.columns().iter().enumerate() {
        let is_list = lists.contains(&index);
        let sums = if is_list { &mut opened } else { &mut beside };
        let bytes = row_bytes(column.as_ref());
        sums.iter_mut().zip(bytes).for_each(|(sum, bytes)| *sum = sum.saturating_add(bytes));
        if is_list {
            let leaves = row_leaves(column.as_ref());
            copies.iter_mut().zip(leaves).for_each(|(most, count)| *most = (*most).max(count));
        }
    }
    let (mut parts, mut begin, mut bytes) = (vec![], 0, 0_u64);
    for row in 0..rows {
        // the position of each element, by which the other columns are copied, counts too
        let copied = copies[row].saturating_mul(beside[row].saturating_add(8));
        let made = opened[row].saturating_add(copied);
        if made > bytes_max {
            return Err(Error::exhausted(format!(
                "UNNEST would make {made} bytes of one row, whose list has {} elements, and at most {bytes_max} \
                 are made: open shorter lists, select fewer columns beside them, or count with \
                 generate_series(…) in FROM",
                copies[row]
            )));
        }
        if bytes.saturating_add(made) > bytes_max {
            parts.push(batch.slice(begin, row - begin));
            (begin, bytes) = (row, 0);
        }
        bytes += made;
    }
    parts.push(batch.slice(begin, rows - begin));
    Ok(parts)
}
