//! `value > ANY (SELECT value FROM sky)` keeps its two columns apart.
//!
//! Stage: analyzer. DataFusion 55 writes such a comparison as a condition inside the subquery, where a column
//! that is called as the outer one is taken for it: `value > value`. So the subquery gets a name of its
//! own. Running it twice gives it two, which is as good.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::SetComparison;
use datafusion::logical_expr::{Expr, LogicalPlan, SubqueryAlias};
use datafusion::optimizer::AnalyzerRule;

/// What the subqueries are called.
const NAME: &str = "compared values";

/// The rule.
#[derive(Debug)]
pub struct SetComparisons;

impl AnalyzerRule for SetComparisons {
    fn name(&self) -> &str {
        "set_comparisons"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let named = |node: LogicalPlan| node.map_expressions(|expr| expr.transform_up(named));
        Ok(plan.transform_up_with_subqueries(named)?.data)
    }
}

fn named(expr: Expr) -> DfResult<Transformed<Expr>> {
    let Expr::SetComparison(comparison) = expr else { return Ok(Transformed::no(expr)) };
    let values = SubqueryAlias::try_new(Arc::clone(&comparison.subquery.subquery), NAME)?;
    let values = Arc::new(LogicalPlan::SubqueryAlias(values));
    let subquery = comparison.subquery.with_plan(values);
    Ok(Transformed::yes(Expr::SetComparison(SetComparison { subquery, ..comparison })))
}
