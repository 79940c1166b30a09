//! Which columns of outer queries a plan reads.
//!
//! Stage: part of `rewrite/subqueries.rs`. DataFusion's reference to an outer column does not say how many
//! queries out it is. It is of the innermost one that has a column with the qualifier and the name, as the
//! planner looked for it; so a query asks whether it has the column, and passes on what it has not.
//! Plans of subqueries that stand in expressions are not looked into: those that are left there read only
//! the query they stand in.

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

use crate::Error;
use crate::walk::{Walk, WalkPlan};

/// Whether `schema` has the column, by its qualifier and name.
pub fn has(schema: &DFSchema, column: &Column) -> bool {
    let mut fields = schema.iter();
    fields.any(|(qualifier, field)| {
        qualifier == column.relation.as_ref() && field.name() == &column.name
    })
}

/// Whether both are the column of one name; where in the text it stands does not matter.
fn same(a: &Column, b: &Column) -> bool {
    a.relation == b.relation && a.name == b.name
}

/// Outer columns that an expression reads.
pub fn outer_columns(expr: &Expr) -> Vec<Column> {
    let mut found: Vec<Column> = vec![];
    // the closure gives no error
    let _ = expr.walk(&mut |part| {
        if let Expr::OuterReferenceColumn(_, column) = part
            && !found.iter().any(|known| same(known, column))
        {
            found.push(column.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Outer columns that a plan reads, of whichever query.
pub fn free_columns(plan: &LogicalPlan) -> DfResult<Vec<Column>> {
    let mut found: Vec<Column> = vec![];
    let mut add = |columns: Vec<Column>| {
        for column in columns {
            if !found.iter().any(|known| same(known, &column)) {
                found.push(column);
            }
        }
    };
    plan.walk_expressions(&mut |expr| {
        add(outer_columns(expr));
        Ok(TreeNodeRecursion::Continue)
    })?;
    if let LogicalPlan::Join(join) = plan
        && is_lateral(&join.right)
    {
        add(free_columns(&join.left)?);
        let right = free_columns(&join.right)?.into_iter();
        add(right.filter(|column| !has(join.left.schema(), column)).collect());
    } else {
        for input in plan.inputs() {
            add(free_columns(input)?);
        }
    }
    Ok(found)
}

/// Outer columns of `schema` that a plan reads.
pub fn read_of(plan: &LogicalPlan, schema: &DFSchema) -> DfResult<Vec<Column>> {
    Ok(free_columns(plan)?.into_iter().filter(|column| has(schema, column)).collect())
}

/// Outer columns that a subquery reads, or one inside it, at whatever depth.
pub fn read_anywhere(plan: &LogicalPlan) -> DfResult<Vec<Column>> {
    let mut found = vec![];
    plan.walk_with_subqueries(&mut |node| {
        node.walk_expressions(&mut |expr| {
            found.extend(outer_columns(expr));
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// The plan of a subquery, if an expression is one.
pub fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(contains) => Some(&contains.subquery),
        Expr::SetComparison(comparison) => Some(&comparison.subquery),
        Expr::ScalarSubquery(subquery) => Some(subquery),
        _ => None,
    }
}

/// Whether the right side of a join reads columns of the left one.
pub fn is_lateral(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => matches!(&*alias.input, LogicalPlan::Subquery(_)),
        _ => false,
    }
}

/// `expr` with `to` in place of the outer columns `from`.
pub fn bind(expr: Expr, from: &[Column], to: &[Column]) -> DfResult<Expr> {
    let bound = expr.change_up(&mut |part| {
        let Expr::OuterReferenceColumn(_, column) = &part else {
            return Ok(Transformed::no(part));
        };
        match from.iter().position(|known| same(known, column)) {
            Some(index) => Ok(Transformed::yes(Expr::Column(to[index].clone()))),
            None => Ok(Transformed::no(part)),
        }
    });
    Ok(bound?.data)
}

/// `expr` over the columns of the query that a subquery stands in, of which it reads no others.
pub fn unbound(expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
    let local = expr.change_up(&mut |part| match part {
        Expr::OuterReferenceColumn(_, column) if has(schema, &column) => {
            Ok(Transformed::yes(Expr::Column(column)))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(local?.data)
}

/// Whether an expression holds a subquery.
pub fn holds_subquery(expr: &Expr) -> bool {
    expr.any(&mut |part| Ok(subquery_of(part).is_some())).unwrap_or(false)
}

/// Refuses outer columns that no query around has.
///
/// # Errors
/// `Plan`.
pub fn refuse_unresolved(plan: &LogicalPlan) -> DfResult<()> {
    let Some(column) = free_columns(plan)?.into_iter().next() else { return Ok(()) };
    Err(Error::plan(format!(
        "a subquery reads {column}, which the query around it no longer has where the subquery stands: \
         after GROUP BY only its keys are left; group by {column} itself, or compute the subquery in \
         FROM (SELECT …)"
    ))
    .into())
}
