//! Plans no deeper than the stacks of the threads that run them.
//!
//! Stage: the last rule over physical plans. Operators begin and poll each other, and terms evaluate
//! each other, as deep as they stand in a plan. In: a plan. Out: the same one, whose long conditions
//! are balanced (DataFusion's rules split them and join them again to a chain), or which of it is too
//! deep. Not here: what statements may hold before ([`crate::sql`], [`crate::planning`]).

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};

use crate::Error;
use crate::stacks::for_this_build;
use crate::walk::Walk;

/// Terms in each other.
const DEPTH_MAX: usize = for_this_build(1200);
/// Operators on each other.
const HEIGHT_MAX: usize = for_this_build(900);
/// Conditions of one filter that stay a chain.
const CHAIN: usize = 64;

/// The rule.
#[derive(Debug)]
pub struct BoundedDepth;

impl PhysicalOptimizerRule for BoundedDepth {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let plan = plan.change_up(&mut balanced).data()?;
        check(&plan, 1)?;
        Ok(plan)
    }

    fn name(&self) -> &'static str {
        "BoundedDepth"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn balanced(plan: Arc<dyn ExecutionPlan>) -> DfResult<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = plan.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(plan)) };
    let conditions = split_conjunction(filter.predicate());
    if conditions.len() <= CHAIN {
        return Ok(Transformed::no(plan));
    }
    let mut all: Vec<Arc<dyn PhysicalExpr>> = conditions.into_iter().cloned().collect();
    while all.len() > 1 {
        let pairs = all.chunks(2).map(|pair| match pair {
            [left, right] => {
                let (left, right) = (Arc::clone(left), Arc::clone(right));
                Arc::new(BinaryExpr::new(left, Operator::And, right)) as Arc<dyn PhysicalExpr>
            }
            rest => Arc::clone(&rest[0]),
        });
        all = pairs.collect();
    }
    let Some(predicate) = all.pop() else { return Ok(Transformed::no(plan)) };
    let filter = FilterExecBuilder::from(filter).with_predicate(predicate).build()?;
    Ok(Transformed::yes(Arc::new(filter)))
}

fn check(plan: &Arc<dyn ExecutionPlan>, height: usize) -> DfResult<()> {
    if height > HEIGHT_MAX {
        return Err(too_deep("operators on each other", HEIGHT_MAX));
    }
    plan.apply_expressions(&mut |expr| {
        if depth(expr) > DEPTH_MAX {
            return Err(too_deep("terms in each other", DEPTH_MAX));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    plan.children().into_iter().try_for_each(|child| check(child, height + 1))
}

fn depth(expr: &Arc<dyn PhysicalExpr>) -> usize {
    1 + expr.children().into_iter().map(depth).max().unwrap_or(0)
}

fn too_deep(what: &str, most: usize) -> datafusion::error::DataFusionError {
    Error::exhausted(format!(
        "the plan of the statement has more than {most} {what}; make a table of a part of it (CREATE \
         TABLE … AS)"
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;
    use crate::registry::Registry;
    use crate::{Session, SessionOptions};

    #[tokio::test]
    async fn conditions_of_a_filter_are_no_chain() {
        let session = Session::try_new(&Registry::default(), &SessionOptions::default()).unwrap();
        session.sql("CREATE TABLE t AS SELECT 1 AS a").await.unwrap();
        let all = (0..1000).map(|value| col("a").not_eq(lit(value + 7)));
        let all = all.reduce(|all, next| all.and(next)).unwrap();
        let frame = session.sql("SELECT * FROM t").await.unwrap().filter(all).unwrap();
        let plan = session.physical_plan(frame).await.unwrap();
        let mut deepest = 0;
        plan.walk(&mut |node| {
            if let Some(filter) = node.downcast_ref::<FilterExec>() {
                deepest = deepest.max(depth(filter.predicate()));
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        assert!((10..20).contains(&deepest), "{deepest}");
    }
}
