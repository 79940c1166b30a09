//! Expressions in which floats are compared by value, not by bits.
//!
//! In: an expression. Out: the same, in which [`canonical`] stands around each float that is compared, is a key
//! of a sort or window, or goes to an aggregate that compares.
//!
//! Why: Arrow's order is that of the bits. There -0.0 is below 0.0, and a NaN with its sign set, which is
//! what 0/0 gives on x86-64 and what files hold, is below all numbers and no equal of others. DataFusion 55
//! mends zeros in some places (<https://github.com/apache/datafusion/pull/22835>) and NaN in none.
//! Not here: plans ([`crate::rewrite`]). Arrays evaluate conditions by themselves: [`crate::catalog`] calls
//! [`in_expr`].

mod function;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{
    AggregateFunctionParams, Sort, WindowFunctionDefinition, WindowFunctionParams,
};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};

use crate::walk::Walk;

use function::canonical_scalar;
pub use function::{canonical, canonical_array, has_floats};

/// Functions of single values that compare floats among their arguments.
const COMPARING: [&str; 23] = [
    "array_distinct",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_max",
    "array_min",
    "array_position",
    "array_positions",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_sort",
    "array_union",
    "arrays_overlap",
    "greatest",
    "least",
    "map_extract",
    "nullif",
];

/// Aggregates that give the same for equal values, or take values only as they are.
const INDIFFERENT: [&str; 9] = [
    "array_agg",
    "avg",
    "corr",
    "count",
    "first_value",
    "last_value",
    "nth_value",
    "sum",
    "string_agg",
];
/// How the names of others of these begin.
const INDIFFERENT_FAMILIES: [&str; 5] = ["covar", "merge_", "regr_", "stddev", "var"];

/// The expression, with floats compared by value in it. Its name may change.
///
/// # Errors
/// `Bug` for constants that cannot be laid out.
pub fn in_expr(expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
    Ok(expr.change_up(&mut |part| changed_part(part, &|expr| by_value(expr, schema)))?.data)
}

/// The value that stands for all that equal that of `expr`.
///
/// # Errors
/// As [`in_expr`].
pub fn by_value(expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
    match expr {
        Expr::Literal(value, metadata) => Ok(Expr::Literal(canonical_scalar(value)?, metadata)),
        Expr::Alias(mut alias) => {
            alias.expr = Box::new(by_value(*alias.expr, schema)?);
            Ok(Expr::Alias(alias))
        }
        expr if needs_no_change(&expr, schema) => Ok(expr),
        expr => Ok(canonical().call(vec![expr])),
    }
}

fn needs_no_change(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == canonical().name() => return true,
        // no whole number is NaN or has a zero with a sign
        Expr::Cast(cast) if cast.expr.get_type(schema).is_ok_and(|of| of.is_integer()) => {
            return true;
        }
        _ => {}
    }
    // a type that cannot be told is that of an expression that cannot be planned
    !expr.get_type(schema).is_ok_and(|of| has_floats(&of))
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// `part` with `change` made to each of the values that it compares.
///
/// # Errors
/// Those of `change`.
pub fn changed_part(
    part: Expr,
    change: &dyn Fn(Expr) -> DfResult<Expr>,
) -> DfResult<Transformed<Expr>> {
    let boxed = |expr: &mut Box<Expr>| -> DfResult<()> {
        **expr = change(std::mem::take(expr.as_mut()))?;
        Ok(())
    };
    let all = |list: &mut Vec<Expr>| -> DfResult<()> {
        *list = std::mem::take(list).into_iter().map(change).collect::<DfResult<_>>()?;
        Ok(())
    };
    let keys = |sorts: &mut Vec<Sort>| -> DfResult<()> {
        sorts.iter_mut().try_for_each(|sort| {
            sort.expr = change(std::mem::take(&mut sort.expr))?;
            Ok(())
        })
    };
    let mut part = part;
    match &mut part {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            boxed(&mut binary.left)?;
            boxed(&mut binary.right)?;
        }
        Expr::Between(between) => {
            boxed(&mut between.expr)?;
            boxed(&mut between.low)?;
            boxed(&mut between.high)?;
        }
        Expr::InList(list) => {
            boxed(&mut list.expr)?;
            all(&mut list.list)?;
        }
        Expr::Case(case) => {
            if let Some(compared) = &mut case.expr {
                boxed(compared)?;
                case.when_then_expr.iter_mut().try_for_each(|(when, _)| boxed(when))?;
            }
        }
        Expr::ScalarFunction(call) if COMPARING.contains(&call.func.name()) => {
            all(&mut call.args)?;
        }
        Expr::AggregateFunction(call) => {
            let AggregateFunctionParams { args, distinct, order_by, .. } = &mut call.params;
            if compares(call.func.name(), *distinct) {
                all(args)?;
            }
            keys(order_by)?;
        }
        Expr::WindowFunction(call) => {
            let WindowFunctionParams { args, partition_by, order_by, distinct, .. } =
                &mut call.params;
            if let WindowFunctionDefinition::AggregateUDF(function) = &call.fun
                && compares(function.name(), *distinct)
            {
                all(args)?;
            }
            all(partition_by)?;
            keys(order_by)?;
        }
        _ => return Ok(Transformed::no(part)),
    }
    Ok(Transformed::yes(part))
}

/// Whether an aggregate compares its values with each other.
pub fn compares(aggregate: &str, distinct: bool) -> bool {
    let is_indifferent = INDIFFERENT.contains(&aggregate)
        || INDIFFERENT_FAMILIES.iter().any(|family| aggregate.starts_with(family));
    distinct || !is_indifferent
}
