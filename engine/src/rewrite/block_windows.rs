//! Window functions over blocks of an array become columns of the array's table.
//!
//! Stage: a part of [`super::lowering`], so that windows may read what functions give and functions
//! what windows give. Before and after:
//!
//! ```text
//! Window: avg(value) OVER (PARTITION BY y/512, x/512)     Projection: …, "avg(value) over …"
//!   Filter: value > 0                                ─▶     Filter: value > 0
//!     TableScan: sky (ArrayTable)                             TableScan: sky (with one more column)
//! ```
//!
//! Matches aggregates without ORDER BY over the whole partition, whose keys are dimensions and their
//! integer quotients, over a chain of projections, aliases and filters on an array table; the filters
//! say which elements count. Blocks above a size stay ordinary windows, as do all other windows.
//! Running twice changes nothing: no such window is left.

use std::sync::Arc;

use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, LogicalPlan, Projection, Window, WindowFrameBound, WindowFunctionDefinition,
};

use super::carry::{Added, with_column};
use super::group_key::group_key;
use super::source::Source;
use crate::catalog::ArrayTable;
use crate::exec::reduce::{GroupKey, group_shape};

/// Elements of a block that is computed in one piece.
const BLOCK_ELEMENTS_MAX: u64 = 16 << 20;

/// The same node without the windows over blocks, whose results come from below it; `None` if there
/// are none.
///
/// # Errors
/// `Plan` for arguments that do not fit.
pub fn without_blocks(window: &Window) -> DfResult<Option<LogicalPlan>> {
    let mut input = window.input.as_ref().clone();
    let mut outputs: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut left = vec![];
    let names = window.schema.iter().skip(outputs.len());
    for (expr, (qualifier, field)) in window.window_expr.iter().zip(names) {
        let found = match over_blocks(expr) {
            Some(function) => Block::find(&window.input, function)?,
            None => None,
        };
        outputs.push(match found {
            Some(block) => {
                let (plan, column) = with_column(&input, expr, &block)?;
                input = plan;
                Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
            }
            None => {
                left.push(expr.clone());
                Expr::Column((qualifier, field).into())
            }
        });
    }
    if left.len() == window.window_expr.len() {
        return Ok(None);
    }
    if !left.is_empty() {
        input = LogicalPlan::Window(Window::try_new(left, Arc::new(input))?);
    }
    Ok(Some(LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(input))?)))
}

/// A window function that is an aggregate of the whole partition.
fn over_blocks(expr: &Expr) -> Option<&WindowFunction> {
    let Expr::WindowFunction(function) = expr else {
        return match expr {
            Expr::Alias(alias) => over_blocks(&alias.expr),
            _ => None,
        };
    };
    let WindowFunctionParams { order_by, window_frame, null_treatment, .. } = &function.params;
    let unbounded = |bound: &WindowFrameBound| bound.is_unbounded();
    let whole = unbounded(&window_frame.start_bound) && unbounded(&window_frame.end_bound);
    let aggregate = matches!(function.fun, WindowFunctionDefinition::AggregateUDF(_));
    (aggregate && order_by.is_empty() && whole && null_treatment.is_none()).then_some(function)
}

/// What is computed of each block.
struct Block {
    keys: Vec<GroupKey>,
    /// The window function over the table's columns; its FILTER holds all conditions.
    function: WindowFunction,
}

impl Block {
    fn find(input: &LogicalPlan, function: &WindowFunction) -> DfResult<Option<Self>> {
        let params = &function.params;
        let mut asked = params.args.clone();
        asked.extend(params.partition_by.iter().cloned());
        asked.extend(params.filter.iter().map(|filter| filter.as_ref().clone()));
        let Some(source) = Source::find(input, asked)? else { return Ok(None) };
        let mut asked = source.expressions.into_iter();
        let args: Vec<Expr> = asked.by_ref().take(params.args.len()).collect();
        let partition_by: Vec<Expr> = asked.by_ref().take(params.partition_by.len()).collect();
        // those that are nearest to the table come first, as each is for the rows that are left
        let conditions: Vec<Expr> = source.filters.into_iter().rev().chain(asked).collect();
        let keys = partition_by.iter().map(|key| group_key(key, source.table.dims()));
        let Some(keys) = keys.collect::<Option<Vec<_>>>() else { return Ok(None) };
        if !fits(&keys, &source.table) {
            return Ok(None);
        }
        let filter = conjunction(conditions).map(Box::new);
        let params = WindowFunctionParams { args, partition_by, filter, ..params.clone() };
        Ok(Some(Self { keys, function: WindowFunction { fun: function.fun.clone(), params } }))
    }
}

/// Whether each axis stands in one key at the most, and a block can be held.
fn fits(keys: &[GroupKey], table: &ArrayTable) -> bool {
    let Some(block) = group_shape(keys, table.shape()) else { return false };
    let elements = block.iter().fold(1_u64, |elements, length| elements.saturating_mul(*length));
    !block.is_empty() && elements <= BLOCK_ELEMENTS_MAX
}

impl Added for Block {
    fn to(&self, table: &mut ArrayTable, _: &Expr) -> DfResult<usize> {
        table.derive_blocks(&self.function, &self.keys)
    }

    fn reads_columns(&self) -> bool {
        false
    }

    fn what(&self) -> String {
        "the window function".into()
    }
}
