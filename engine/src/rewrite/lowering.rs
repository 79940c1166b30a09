//! Calls of array functions become columns of the array's table.
//!
//! Stage: analyzer, after types are known. Before and after:
//!
//! ```text
//! Projection: y, gaussian_filter(value * 2, 2) AS smooth      Projection: y, sky."gaussian_filter(…)" AS smooth
//!   Filter: x < 50                                       ─▶     Filter: x < 50
//!     TableScan: sky (ArrayTable)                                 TableScan: sky (ArrayTable with one more column)
//! ```
//!
//! The value at an element depends on the array that the column comes from, never on the rows that
//! the query keeps. So the new column is added at the scan and carried up through every node that
//! keeps the identity of rows; through any other it is refused, with the way out. Inner calls are
//! lowered before outer ones. Running twice changes nothing: no call is left after the first time.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Distinct, DistinctOn, Expr, LogicalPlan, Projection};
use datafusion::optimizer::AnalyzerRule;

use super::axis_order;
use super::block_windows::without_blocks;
use super::carry::{Added, DIFFERS, TWO_ARRAYS, input_with, refused, with_column};
use super::marker::definition_of;
use super::restate::unqualified;
use crate::Error;
use crate::catalog::ArrayTable;
use crate::walk::{Walk, WalkPlan};

/// The rule.
#[derive(Debug)]
pub struct Lowering;

impl AnalyzerRule for Lowering {
    fn name(&self) -> &str {
        "array_lowering"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        Ok(plan.change_up_with_subqueries(&mut lowered)?.data)
    }
}

/// One node whose inputs are lowered already. Windows over blocks follow the calls that they read.
fn lowered(node: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let columns = node.schema().columns();
    let mut changed = match node.expressions().iter().any(holds_call) {
        true => Transformed::yes(without_calls(node)?),
        false => Transformed::no(node),
    };
    if let LogicalPlan::Window(window) = &changed.data
        && let Some(node) = without_blocks(window)?
    {
        changed = Transformed::yes(node);
    }
    if changed.data.schema().fields().len() == columns.len() {
        return Ok(changed);
    }
    let columns = columns.into_iter().map(Expr::Column).collect();
    let narrow = Projection::try_new(columns, Arc::new(changed.data))?;
    Ok(Transformed::yes(LogicalPlan::Projection(narrow)))
}

/// The node over inputs that have a column for each of its calls.
fn without_calls(node: LogicalPlan) -> DfResult<LogicalPlan> {
    let mut inputs: Vec<LogicalPlan> = node.inputs().into_iter().cloned().collect();
    let names = NamePreserver::new(&node);
    let sorts = matches!(node, LogicalPlan::Sort(_));
    let mut without = |expr: Expr| {
        let name = names.save(&expr);
        let changed = expr.change_up(&mut |part| match definition_of(&part) {
            Some(_) => Ok(Transformed::yes(column_for(&part, &mut inputs)?)),
            None => Ok(Transformed::no(part)),
        })?;
        Ok(if sorts { changed } else { changed.update_data(|expr| name.restore(expr)) })
    };
    let changed = node.change_expressions(&mut |expr| match expr {
        // its members have names, and it has none
        Expr::GroupingSet(_) => expr.change_children(&mut without),
        expr => without(expr),
    })?;
    let node = changed.data;
    match (node, inputs.as_slice()) {
        // whose ORDER BY is not among what DataFusion exchanges
        (LogicalPlan::Distinct(Distinct::On(node)), [input]) => {
            let DistinctOn { on_expr, select_expr, sort_expr, .. } = node;
            let input = Arc::new(input.clone());
            let node = DistinctOn::try_new(on_expr, select_expr, sort_expr, input)?;
            Ok(LogicalPlan::Distinct(Distinct::On(node)))
        }
        (node, _) => node.with_new_exprs(node.expressions(), inputs),
    }
}

fn holds_call(expr: &Expr) -> bool {
    expr.any(&mut |part| Ok(definition_of(part).is_some())).unwrap_or(false)
}

/// The column that stands for a call, after one of the inputs was made to have it.
fn column_for(call: &Expr, inputs: &mut [LogicalPlan]) -> DfResult<Expr> {
    let name = definition_of(call).map_or("", |(definition, _)| definition.name());
    let function = Call { name };
    if call.contains_outer() {
        return Err(refused(&function, TWO_ARRAYS));
    }
    if call.column_refs().is_empty() {
        let reason = "it reads no column; its first argument must be one of an array";
        return Err(refused(&function, reason));
    }
    if call.is_volatile() {
        return Err(refused(&function, DIFFERS));
    }
    let Some(input) = input_with(inputs, call) else { return Err(refused(&function, TWO_ARRAYS)) };
    axis_order::check(input, call, &function)?;
    let (plan, column) = with_column(input, call, &function)?;
    *input = plan;
    Ok(Expr::Column(column))
}

struct Call<'a> {
    name: &'a str,
}

impl Added for Call<'_> {
    fn to(&self, table: &mut ArrayTable, call: &Expr) -> DfResult<usize> {
        let Some((definition, arguments)) = definition_of(call) else {
            return Err(Error::bug("a call without a definition").into());
        };
        table.derive(definition.as_ref(), &unqualified(call.clone()), arguments)
    }

    fn reads_columns(&self) -> bool {
        true
    }

    fn what(&self) -> String {
        self.name.into()
    }
}
