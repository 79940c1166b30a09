//! A sort-merge join heeds its condition though that reads no column.
//!
//! Stage: after DataFusion's physical rules, and where a join begins to sort. In: a sort-merge join. Out: the
//! same, whose condition names a column that it does not need.
//!
//! DataFusion 55 evaluates a condition of a sort-merge join only if it reads columns
//! (`sort_merge_join/materializing_stream.rs`), so that `FULL JOIN … ON a.k = b.k AND CAST(NULL AS BOOLEAN)`,
//! or `AND random() < 0.5`, gave all pairs. This can go when the specification (`tests/spec/sql/joins.slt`)
//! holds without it.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::JoinSide;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result as DfResult;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::SortMergeJoinExec;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};

use crate::walk::Walk;

/// The rule.
#[derive(Debug)]
pub struct ConstantConditions;

impl PhysicalOptimizerRule for ConstantConditions {
    fn name(&self) -> &str {
        "ConstantConditions"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.change_up(&mut |node| {
            let join = node.downcast_ref::<SortMergeJoinExec>();
            let Some(join) = join.filter(|join| join.filter().as_ref().is_some_and(reads_nothing))
            else {
                return Ok(Transformed::no(node));
            };
            let condition =
                join.filter().as_ref().map(|all| with_a_column(all, &join.left().schema()));
            Ok(Transformed::yes(Arc::new(SortMergeJoinExec::try_new(
                Arc::clone(join.left()),
                Arc::clone(join.right()),
                join.on().to_vec(),
                condition,
                join.join_type(),
                join.sort_options().to_vec(),
                join.null_equality(),
            )?) as _))
        })
        .data()
    }
}

fn reads_nothing(condition: &JoinFilter) -> bool {
    condition.column_indices().is_empty()
}

/// The condition with the first column of the left side if it reads none; joins have keys there.
pub fn with_a_column(condition: &JoinFilter, left: &SchemaRef) -> JoinFilter {
    let Some(first) = left.fields().first().filter(|_| reads_nothing(condition)) else {
        return condition.clone();
    };
    JoinFilter::new(
        Arc::clone(condition.expression()),
        vec![ColumnIndex { index: 0, side: JoinSide::Left }],
        Arc::new(Schema::new(vec![Arc::clone(first)])),
    )
}
