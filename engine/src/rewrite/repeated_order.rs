//! `ORDER BY a, a` within an aggregate or DISTINCT ON orders by `a` once.
//!
//! Stage: analyzer, before DISTINCT ON becomes an aggregate. In: `first_value(x ORDER BY a, b, a)`,
//! `DISTINCT ON (a, a) … ORDER BY a, a, b`. Out: the same without what comes again, which can part no rows.
//!
//! DataFusion 55 counts such an order in two ways, and panics where they differ
//! (<https://github.com/apache/datafusion/issues/25398>); a key that comes twice in DISTINCT ON fails when
//! it is planned. Running this twice changes nothing. Not here: ORDER BY of queries, which is right.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, Sort};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Distinct, DistinctOn, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use crate::walk::{Walk, WalkPlan};

/// The rule.
#[derive(Debug)]
pub struct RepeatedOrder;

impl AnalyzerRule for RepeatedOrder {
    fn name(&self) -> &str {
        "repeated_order"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        Ok(plan.change_up_with_subqueries(&mut in_node)?.data)
    }
}

fn in_node(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    let mut in_expr = |expr: Expr| {
        let name = names.save(&expr);
        Ok(expr.change_up(&mut in_aggregate)?.update_data(|expr| name.restore(expr)))
    };
    plan.change_expressions(&mut in_expr)?.transform_data(in_distinct)
}

fn in_distinct(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let LogicalPlan::Distinct(Distinct::On(on)) = plan else { return Ok(Transformed::no(plan)) };
    let keys = once(on.on_expr.clone(), |key| key);
    let order = on.sort_expr.clone().map(|order| once(order, |sort| &sort.expr));
    if keys.len() == on.on_expr.len() && order == on.sort_expr {
        return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::On(on))));
    }
    let on = DistinctOn { on_expr: keys, sort_expr: order, ..on };
    Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::On(on))))
}

fn in_aggregate(expr: Expr) -> DfResult<Transformed<Expr>> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else {
        return Ok(Transformed::no(expr));
    };
    let before = params.order_by.len();
    let order_by: Vec<Sort> = once(params.order_by, |sort| &sort.expr);
    let changed = order_by.len() != before;
    let params = AggregateFunctionParams { order_by, ..params };
    let expr = Expr::AggregateFunction(AggregateFunction { func, params });
    Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
}

/// The items whose expression is not that of an earlier one.
fn once<T: Clone>(items: Vec<T>, expr: impl Fn(&T) -> &Expr) -> Vec<T> {
    let mut kept: Vec<T> = Vec::with_capacity(items.len());
    for item in items {
        if kept.iter().all(|earlier| expr(earlier) != expr(&item)) {
            kept.push(item);
        }
    }
    kept
}
