//! Subqueries in joins, VALUES and ORDER BY.
//!
//! Stage: part of `rewrite/subqueries.rs`. What stands in the condition of an inner join is asked of its
//! rows; in that of an outer join, of the rows of the side that it reads.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    EmptyRelation, Expr, Filter, Join, JoinType, LogicalPlan, SortExpr, SubqueryAlias, Union,
    Values,
};

use super::left_alone::is_plain_source;
use super::scope::{has, holds_subquery, read_anywhere, subquery_of};
use super::shape::{only, project, under};
use super::values::Rows;
use super::{Site, Turn};
use crate::Error;
use crate::walk::Walk;

impl Turn<'_> {
    pub(super) fn join(&mut self, node: Join) -> DfResult<LogicalPlan> {
        if node.join_type != JoinType::Inner {
            return self.outer_join(node);
        }
        let conditions = node.filter.into_iter().flat_map(split_conjunction_owned);
        let (with, without): (Vec<_>, Vec<_>) = conditions.partition(holds_subquery);
        let plan = LogicalPlan::Join(Join { filter: conjunction(without), ..node });
        match conjunction(with) {
            Some(predicate) => self.filter(Filter::try_new(predicate, Arc::new(plan))?),
            None => Ok(plan),
        }
    }

    fn outer_join(&mut self, node: Join) -> DfResult<LogicalPlan> {
        let schema = Arc::clone(&node.schema);
        let Some(mut filter) = node.filter else { return Ok(LogicalPlan::Join(node)) };
        let schemas = [Arc::clone(node.left.schema()), Arc::clone(node.right.schema())];
        let mut sides = vec![];
        for (input, schema) in [node.left, node.right].into_iter().zip(&schemas) {
            let mut site = self.site(Arc::unwrap_or_clone(input), false);
            filter = lift_side(filter, schema, &schemas, &mut site)?;
            sides.push(site.rows.plan);
        }
        if holds_subquery(&filter) {
            return Err(Error::unsupported(
                "a subquery in the condition of an outer join that reads columns of both sides; join \
                 both with an inner join in a subquery of its own first",
            )
            .into());
        }
        let (Some(right), Some(left)) = (sides.pop(), sides.pop()) else {
            return Err(Error::bug("a join has two sides").into());
        };
        let plan = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            node.on,
            Some(filter),
            node.join_type,
            node.join_constraint,
            node.null_equality,
            node.null_aware,
        )?;
        only(LogicalPlan::Join(plan), &schema, &[])
    }

    /// A join whose right side reads the rows of its left one.
    pub(super) fn lateral(&mut self, node: Join) -> DfResult<LogicalPlan> {
        let schema = Arc::clone(&node.schema);
        if !matches!(node.join_type, JoinType::Inner | JoinType::Left) {
            return Err(Error::unsupported(format!(
                "{} JOIN LATERAL; use an inner or a LEFT join",
                node.join_type.to_string().to_uppercase()
            ))
            .into());
        }
        let right = Arc::clone(node.right.schema());
        let inner = match Arc::unwrap_or_clone(node.right) {
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => Arc::unwrap_or_clone(input),
            other => other,
        };
        let LogicalPlan::Subquery(subquery) = inner else {
            return Err(Error::bug("a lateral join without a subquery").into());
        };
        let same = node.on.into_iter().map(|(a, b)| a.eq(b));
        let condition = conjunction(same.chain(node.filter));
        let rows = Rows::of(Arc::unwrap_or_clone(node.left), self.names);
        let subquery = Arc::unwrap_or_clone(subquery.subquery);
        only(rows.lateral(subquery, &right, node.join_type, condition)?, &schema, &[])
    }
}

/// `expr` without the subqueries that read columns of `schema` alone, one of the two `schemas`.
fn lift_side(
    expr: Expr,
    schema: &DFSchema,
    schemas: &[DFSchemaRef; 2],
    site: &mut Site<'_>,
) -> DfResult<Expr> {
    if let Some(subquery) = subquery_of(&expr) {
        let mut read = read_anywhere(&subquery.subquery)?;
        read.retain(|column| schemas.iter().any(|schema| has(schema, column)));
        read.extend(expr.column_refs().into_iter().cloned());
        return match read.iter().all(|column| has(schema, column)) {
            true => site.lift(expr, false),
            false => Ok(expr),
        };
    }
    let lifted = expr
        .change_children(&mut |part| Ok(Transformed::yes(lift_side(part, schema, schemas, site)?)));
    Ok(lifted?.data)
}

/// Whether DataFusion plans a lateral join rightly.
pub(super) fn is_plain_lateral(node: &Join) -> DfResult<bool> {
    let inner = match &*node.right {
        LogicalPlan::SubqueryAlias(alias) => &*alias.input,
        other => other,
    };
    match inner {
        LogicalPlan::Subquery(subquery) => is_plain_source(&subquery.subquery, node.left.schema()),
        _ => Ok(true),
    }
}

/// VALUES as a row of expressions each.
pub(super) fn union_of(values: Values) -> DfResult<LogicalPlan> {
    let mut inputs = vec![];
    for row in values.values {
        let one_row = LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row: true,
            schema: Arc::new(DFSchema::empty()),
        });
        let row = row.into_iter().zip(values.schema.iter());
        let row = row.map(|(expr, field)| under(expr, field)).collect();
        inputs.push(Arc::new(project(one_row, row)?));
    }
    match inputs.len() {
        1 => Ok(Arc::unwrap_or_clone(inputs.swap_remove(0))),
        _ => Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)),
    }
}

/// The input of a sort, with the columns that subqueries in its keys read and SELECT leaves out.
pub(super) fn with_columns_read(keys: &[SortExpr], input: LogicalPlan) -> DfResult<LogicalPlan> {
    let LogicalPlan::Projection(projection) = &input else { return Ok(input) };
    let mut missing: Vec<Column> = vec![];
    for key in keys {
        for column in read_by_subqueries(&key.expr)? {
            let inner = projection.input.schema();
            if !has(input.schema(), &column) && has(inner, &column) && !missing.contains(&column) {
                missing.push(column);
            }
        }
    }
    if missing.is_empty() {
        return Ok(input);
    }
    let mut exprs = projection.expr.clone();
    exprs.extend(missing.into_iter().map(Expr::Column));
    project(projection.input.as_ref().clone(), exprs)
}

fn read_by_subqueries(expr: &Expr) -> DfResult<Vec<Column>> {
    let mut read = vec![];
    expr.walk(&mut |part| {
        if let Some(subquery) = subquery_of(part) {
            read.extend(read_anywhere(&subquery.subquery)?);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(read)
}
