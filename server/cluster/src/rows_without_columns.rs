//! Rows without columns have one while they are sent.
//!
//! `SELECT count(*) FROM a CROSS JOIN b` needs how many rows `b` has and none of its columns. Ballista
//! 55 reads what one stage wrote for the next as columns, and fails where there are none.

use std::sync::Arc;

use almagest_engine::walk::Walk;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::expressions::lit;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::repartition::RepartitionExec;

/// The name of the column.
const COLUMN: &str = "row";

/// The rule. It runs after DataFusion's, as those about projections would take the column away again.
#[derive(Debug)]
pub struct RowsWithoutColumns;

impl PhysicalOptimizerRule for RowsWithoutColumns {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.change_up(&mut |plan| {
            let is_sent = plan.is::<CoalescePartitionsExec>() || plan.is::<RepartitionExec>();
            let [input] = plan.children()[..] else { return Ok(Transformed::no(plan)) };
            if !is_sent || !input.schema().fields().is_empty() {
                return Ok(Transformed::no(plan));
            }
            let column = ProjectionExpr { expr: lit(true), alias: COLUMN.into() };
            let with_column = ProjectionExec::try_new(vec![column], Arc::clone(input))?;
            let sent = replace_children_if_necessary(plan, vec![Arc::new(with_column)])?;
            let none: Vec<ProjectionExpr> = vec![];
            Ok(Transformed::yes(Arc::new(ProjectionExec::try_new(none, sent)?) as _))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "RowsWithoutColumns"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
