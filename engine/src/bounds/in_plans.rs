//! Puts guards into plans.
//!
//! Stage: analyzer, for calls that DataFusion's planner makes without looking at the registered functions
//! (`overlay(… placing …)`, `[1, 2]`, `list || list`); and optimizer, last, for what no function is: `||`, long
//! constants in front of many rows, and aggregates whose argument says how much they hold. Running either twice
//! changes nothing.

use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule};

use super::guarded::guard_calls;
use super::operators::{joined_texts, long_constant};
use super::sizes::scalar_bytes;
use crate::Error;
use crate::walk::{Walk, WalkPlan};

/// Bytes of a constant that may be copied for each row of a batch: 512 MiB of DataFusion's longest.
const CONSTANT_BYTES_MAX: u64 = 64 << 10;

/// Functions that are not guarded and copy their arguments.
const COPYING: [&str; 2] = ["named_struct", "struct"];

/// Aggregates that hold as many numbers as their last argument says; and the most that they may.
const SIZED_AGGREGATES: [(&str, usize); 2] =
    [("approx_percentile_cont", 3), ("approx_percentile_cont_with_weight", 4)];
const CENTROIDS_MAX: u64 = 10_000;

/// The analyzer rule.
#[derive(Debug)]
pub struct GuardCalls;

impl AnalyzerRule for GuardCalls {
    fn name(&self) -> &str {
        "guard_calls"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let mut guarded = |node: LogicalPlan| node.change_expressions(&mut guard_calls);
        plan.change_up_with_subqueries(&mut guarded).data()
    }
}

/// The optimizer rule.
#[derive(Debug)]
pub struct GuardValues;

impl OptimizerRule for GuardValues {
    fn name(&self) -> &str {
        "guard_values"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        let copies_constants = matches!(plan, LogicalPlan::Projection(_));
        plan.change_expressions(&mut |expr| {
            expr.walk(&mut |part| {
                refuse_large_aggregate(part)?;
                Ok(TreeNodeRecursion::Continue)
            })?;
            let name = names.save(&expr);
            let guarded = guard_calls(expr)?;
            let changed = guarded.transformed;
            let mut valued = guarded.data.change_up(&mut guard_value)?;
            if copies_constants {
                let before = valued.transformed;
                valued = valued.data.change_down(&mut guard_constant)?;
                valued.transformed |= before;
            }
            let changed = changed || valued.transformed;
            let expr = if changed { name.restore(valued.data) } else { valued.data };
            Ok(Transformed::new_transformed(expr, changed))
        })
    }
}

fn guard_value(expr: Expr) -> DfResult<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
            Transformed::yes(joined_texts(*left, *right))
        }
        other => Transformed::no(other),
    })
}

/// Guards a constant that becomes a column as it is. Other functions take it once for all rows.
fn guard_constant(expr: Expr) -> DfResult<Transformed<Expr>> {
    let next = match &expr {
        Expr::Literal(value, _) if scalar_bytes(value) > CONSTANT_BYTES_MAX => {
            return Ok(Transformed::new(long_constant(expr), true, TreeNodeRecursion::Jump));
        }
        Expr::Alias(_) | Expr::Case(_) => TreeNodeRecursion::Continue,
        Expr::ScalarFunction(call) if COPYING.contains(&call.func.name()) => {
            TreeNodeRecursion::Continue
        }
        _ => TreeNodeRecursion::Jump,
    };
    Ok(Transformed::new(expr, false, next))
}

fn refuse_large_aggregate(expr: &Expr) -> DfResult<()> {
    let (name, args) = match expr {
        Expr::AggregateFunction(call) => (call.func.name(), &call.params.args),
        Expr::WindowFunction(call) => (call.fun.name(), &call.params.args),
        _ => return Ok(()),
    };
    let sized = SIZED_AGGREGATES.iter().find(|(known, _)| *known == name);
    let Some(Expr::Literal(value, _)) = sized.and_then(|(_, count)| args.get(count - 1)) else {
        return Ok(());
    };
    let count = match value.cast_to(&arrow::datatypes::DataType::UInt64) {
        Ok(ScalarValue::UInt64(Some(count))) => count,
        _ => return Ok(()),
    };
    if count > CENTROIDS_MAX {
        return Err(Error::plan(format!(
            "{name} with {count} centroids, which it would hold for each group; at most {CENTROIDS_MAX} \
             can be asked for, and percentile_cont is exact"
        ))
        .into());
    }
    Ok(())
}
