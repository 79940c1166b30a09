//! Subqueries that DataFusion plans rightly, and faster than joins by rows' keys.
//!
//! Stage: part of `rewrite/subqueries.rs`. These are: EXISTS and IN as conditions of their own in WHERE, as
//! semi and anti joins, where what reads the outer row stands in conditions that nothing aggregates,
//! numbers or cuts off afterwards; and scalar subqueries of one aggregate over such conditions, each an
//! equality of two columns. So the plans of ordinary queries stay as DataFusion makes them.
//! NOT IN only if it reads no outer row and asks for a column: otherwise DataFusion 55 loses the rule that
//! a NULL among the values leaves nothing (its join then has no key of its own, or several).

use datafusion::common::DFSchema;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::utils::{can_hash, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, JoinType, LogicalPlan, Operator, Subquery,
};

use super::scope::{free_columns, has, holds_subquery, outer_columns};

/// Whether a condition of WHERE over rows of `outer` is one that DataFusion makes a semi or anti join of.
pub fn is_plain_condition(condition: &Expr, outer: &DFSchema) -> DfResult<bool> {
    let (condition, not) = match condition {
        Expr::Not(inner) => (&**inner, true),
        other => (other, false),
    };
    Ok(match condition {
        Expr::Exists(exists) => reads_only_in_conditions(&exists.subquery, outer)?,
        Expr::InSubquery(contains) => {
            let plain = is_plain_value(&contains.expr, outer)?
                && reads_only_in_conditions(&contains.subquery, outer)?;
            let correlated = !free_columns(&contains.subquery.subquery)?.is_empty();
            plain && !(correlated && not != contains.negated)
        }
        _ => false,
    })
}

/// Whether a value is a column, perhaps of another type, that may be hashed.
fn is_plain_value(value: &Expr, outer: &DFSchema) -> DfResult<bool> {
    let column = match value {
        Expr::Cast(cast) => &*cast.expr,
        other => other,
    };
    Ok(matches!(column, Expr::Column(_)) && can_hash(&value.get_type(outer)?))
}

fn reads_only_in_conditions(subquery: &Subquery, outer: &DFSchema) -> DfResult<bool> {
    is_plain_source(&subquery.subquery, outer)
}

/// Whether a plan reads rows of `outer` in conditions only, or not at all.
pub fn is_plain_source(plan: &LogicalPlan, outer: &DFSchema) -> DfResult<bool> {
    let free = free_columns(plan)?;
    Ok(free.is_empty()
        || free.iter().all(|column| has(outer, column)) && in_conditions(plan, &|_, _| true)?)
}

/// Whether outer columns are read in conditions only which `fits` takes, below nothing but projections,
/// conditions and inner joins.
fn in_conditions(plan: &LogicalPlan, fits: &dyn Fn(&Expr, &DFSchema) -> bool) -> DfResult<bool> {
    if free_columns(plan)?.is_empty() {
        return Ok(true);
    }
    Ok(match plan {
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().all(|expr| outer_columns(expr).is_empty())
                && in_conditions(&projection.input, fits)?
        }
        LogicalPlan::Filter(filter) => {
            let schema = filter.input.schema();
            let conditions = split_conjunction(&filter.predicate);
            let takes = |condition: &&Expr| {
                outer_columns(condition).is_empty()
                    || !holds_subquery(condition) && fits(condition, schema)
            };
            conditions.iter().all(takes) && in_conditions(&filter.input, fits)?
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            join.filter.iter().all(|condition| outer_columns(condition).is_empty())
                && in_conditions(&join.left, fits)?
                && in_conditions(&join.right, fits)?
        }
        _ => false,
    })
}

/// Whether a scalar subquery over rows of `outer` is one aggregate of the rows whose columns equal the
/// outer row's, and NULL if there are none.
pub fn is_plain_aggregate(subquery: &Subquery, outer: &DFSchema) -> DfResult<bool> {
    if !free_columns(&subquery.subquery)?.iter().all(|column| has(outer, column)) {
        return Ok(false);
    }
    let LogicalPlan::Projection(projection) = &*subquery.subquery else { return Ok(false) };
    let LogicalPlan::Aggregate(aggregate) = &*projection.input else { return Ok(false) };
    let is_known = |expr: &Expr| {
        let Expr::AggregateFunction(call) = expr else { return false };
        matches!(call.func.name(), "min" | "max" | "sum" | "avg") && outer_columns(expr).is_empty()
    };
    Ok(aggregate.group_expr.is_empty()
        && aggregate.aggr_expr.iter().all(is_known)
        && projection.expr.iter().all(|expr| is_arithmetic(expr) && !expr.column_refs().is_empty())
        && in_conditions(&aggregate.input, &|condition, _| is_equality_of_columns(condition))?)
}

/// Whether a value of NULL alone is NULL.
fn is_arithmetic(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::Alias(alias) => is_arithmetic(&alias.expr),
        Expr::Cast(cast) => is_arithmetic(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide)
                && is_arithmetic(left)
                && is_arithmetic(right)
        }
        _ => false,
    }
}

fn is_equality_of_columns(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else {
        return false;
    };
    matches!(
        (&**left, &**right),
        (Expr::Column(_), Expr::OuterReferenceColumn(..))
            | (Expr::OuterReferenceColumn(..), Expr::Column(_))
    )
}
