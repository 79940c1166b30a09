//! Joins of all pairs that give left rows by what all right rows are have one task.
//!
//! Such a join holds the left side, and each partition of the right one notes which left rows it met. In
//! one process the partitions share the notes; tasks of a cluster do not, and each would give the left rows
//! that it did not meet. Not here: joins by hash tables ([`super::hash_joins`]).

use std::sync::Arc;

use almagest_engine::walk::Walk;
use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::expressions::lit;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};

/// The rule. It runs after partitions are spread.
#[derive(Debug)]
pub struct OneRightSide;

impl PhysicalOptimizerRule for OneRightSide {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.change_up(&mut |plan| {
            let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() else {
                return Ok(Transformed::no(plan));
            };
            let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
            let partitions = right.output_partitioning().partition_count();
            if !gives_left_rows_at_the_end(*join.join_type()) || partitions == 1 {
                return Ok(Transformed::no(plan));
            }
            // Ballista drops what only merges partitions here, and shuffles by a hash
            let one = Partitioning::Hash(vec![lit(0_i64)], 1);
            let right = Arc::new(RepartitionExec::try_new(right, one)?);
            Ok(Transformed::yes(replace_children_if_necessary(plan, vec![left, right])?))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "OneRightSide"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn gives_left_rows_at_the_end(kind: JoinType) -> bool {
    matches!(
        kind,
        JoinType::Left
            | JoinType::Full
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark
    )
}
