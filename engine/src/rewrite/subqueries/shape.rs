//! Small pieces of plans: projections that keep names, joins by keys, names that nothing else has.
//!
//! Stage: part of `rewrite/subqueries.rs`. Not here: what is joined, and why.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, NullEquality, TableReference};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::utils::{can_hash, conjunction};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, Filter, Join, JoinConstraint, JoinType, LogicalPlan, Operator,
    Projection, binary_expr,
};
use datafusion::prelude::lit;

use crate::walk::WalkPlan;

/// How the columns begin that a subquery leaves behind.
const PREFIX: &str = "__subquery_";

/// Names of columns that no other column of a plan has.
#[derive(Debug)]
pub struct Names {
    next: usize,
}

impl Names {
    /// Names beside those in `plan`, which may have been through the rule before.
    pub fn beside(plan: &LogicalPlan) -> DfResult<Self> {
        let mut next = 1;
        plan.walk_with_subqueries(&mut |node| {
            for field in node.schema().fields() {
                let number = field.name().strip_prefix(PREFIX).and_then(|n| n.parse().ok());
                next = number.map_or(next, |number: usize| next.max(number + 1));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Self { next })
    }

    /// A column without a qualifier.
    pub fn fresh(&mut self) -> Column {
        let name = format!("{PREFIX}{}", self.next);
        self.next += 1;
        Column::new_unqualified(name)
    }
}

/// The columns of a schema, in order.
pub fn columns(schema: &DFSchema) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

/// The expressions over `plan`.
pub fn project(plan: LogicalPlan, exprs: Vec<Expr>) -> DfResult<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

/// The columns of `plan`, and these.
pub fn extend(plan: LogicalPlan, more: impl IntoIterator<Item = Expr>) -> DfResult<LogicalPlan> {
    let exprs = columns(plan.schema()).into_iter().chain(more).collect();
    project(plan, exprs)
}

/// The rows of `plan` for which `predicate` holds.
pub fn filter(plan: LogicalPlan, predicate: Expr) -> DfResult<LogicalPlan> {
    Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?))
}

/// Groups and their aggregates under the names `as_columns`, groups first.
pub fn aggregate(
    plan: LogicalPlan,
    groups: Vec<Expr>,
    aggregates: Vec<Expr>,
    as_columns: &[Column],
) -> DfResult<LogicalPlan> {
    let plan = Aggregate::try_new(Arc::new(plan), groups, aggregates)?;
    let plan = LogicalPlan::Aggregate(plan);
    let named = columns(plan.schema()).into_iter().zip(as_columns);
    let named = named.map(|(expr, column)| expr.alias(&column.name)).collect();
    project(plan, named)
}

/// `expr` under a field's qualifier and name.
pub fn under(expr: Expr, field: (Option<&TableReference>, &FieldRef)) -> Expr {
    let (qualifier, name) = expr.qualified_name();
    if qualifier.as_ref() == field.0 && &name == field.1.name() {
        return expr;
    }
    let expr = match expr {
        Expr::Alias(alias) if alias.metadata.is_none() => *alias.expr,
        other => other,
    };
    expr.alias_qualified(field.0.cloned(), field.1.name())
}

/// `plan` with its first columns under the names of `schema`; others are left out.
pub fn renamed(plan: LogicalPlan, schema: &DFSchema) -> DfResult<LogicalPlan> {
    let columns = columns(plan.schema()).into_iter();
    let exprs = columns.zip(schema.iter()).map(|(expr, field)| under(expr, field)).collect();
    project(plan, exprs)
}

/// `plan` with the columns of `schema`, found by name, and then `more`.
pub fn only(plan: LogicalPlan, schema: &DFSchema, more: &[Column]) -> DfResult<LogicalPlan> {
    let mut wanted = columns(schema);
    wanted.extend(more.iter().cloned().map(Expr::Column));
    if columns(plan.schema()) == wanted { Ok(plan) } else { project(plan, wanted) }
}

/// Whether keys of this type may be hashed; others are compared row by row.
fn hashed(expr: &Expr, schema: &DFSchema) -> DfResult<bool> {
    let data_type = expr.get_type(schema)?;
    Ok(can_hash(&data_type) && data_type != DataType::Null)
}

/// A join on pairs of expressions, of which the first are over `left`. If `null_safe`, NULL equals NULL.
pub fn join(
    left: LogicalPlan,
    right: LogicalPlan,
    join_type: JoinType,
    keys: Vec<(Expr, Expr)>,
    null_safe: bool,
    condition: Option<Expr>,
) -> DfResult<LogicalPlan> {
    let (mut on, mut conditions) = (vec![], vec![]);
    for (ours, theirs) in keys {
        if !ours.column_refs().is_empty() && hashed(&ours, left.schema())? {
            on.push((ours, theirs));
            continue;
        }
        let same = if null_safe { Operator::IsNotDistinctFrom } else { Operator::Eq };
        conditions.push(binary_expr(ours, same, theirs));
    }
    conditions.extend(condition);
    if on.is_empty() && conditions.is_empty() && join_type != JoinType::Inner {
        conditions.push(lit(true));
    }
    let null_equality = if null_safe && !on.is_empty() {
        NullEquality::NullEqualsNull
    } else {
        NullEquality::NullEqualsNothing
    };
    Ok(LogicalPlan::Join(Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        conjunction(conditions),
        join_type,
        JoinConstraint::On,
        null_equality,
        false,
    )?))
}

/// `plan` beside the one row of `row`, whose columns come last. The row is the left side of the join, as
/// that is the side which is held.
pub fn beside_row(plan: LogicalPlan, row: LogicalPlan) -> DfResult<LogicalPlan> {
    let mut exprs = columns(plan.schema());
    exprs.extend(columns(row.schema()));
    project(join(row, plan, JoinType::Inner, vec![], false, None)?, exprs)
}
