//! LIMIT, OFFSET and DISTINCT ON of rows that depend on outer rows: rows of each value are numbered.
//!
//! Stage: part of `dependent.rs`.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchemaRef};
use datafusion::error::Result as DfResult;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    DistinctOn, Expr, ExprFunctionExt, FetchType, Limit, LogicalPlan, SkipType, SortExpr, Window,
};
use datafusion::prelude::lit;

use super::{Carried, Dependent};
use crate::Error;
use crate::rewrite::subqueries::shape::{filter, only, project, under};
use crate::walk::Walk;

impl Dependent<'_> {
    pub(super) fn limit(
        &mut self,
        limit: Limit,
        schema: &DFSchemaRef,
    ) -> DfResult<Option<Carried>> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
            (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return Err(Error::unsupported(
                "LIMIT or OFFSET that is not a constant, in a subquery that reads outer rows; number \
                 the rows with row_number() and compare the number",
            )
            .into());
        };
        self.cut(Arc::unwrap_or_clone(limit.input), skip, fetch, schema)
    }

    /// The rows of `plan` from `skip` on, at most `fetch` of them, for each value.
    pub(super) fn cut(
        &mut self,
        plan: LogicalPlan,
        skip: usize,
        fetch: Option<usize>,
        schema: &DFSchemaRef,
    ) -> DfResult<Option<Carried>> {
        let Some((ranked, rank)) = self.ranked(plan)? else { return Ok(None) };
        let rank = Expr::Column(rank);
        let mut holds = rank.clone().gt(lit(skip as u64));
        if let Some(fetch) = fetch {
            holds = holds.and(rank.lt_eq(lit(skip.saturating_add(fetch) as u64)));
        }
        let plan = only(filter(ranked.plan, holds)?, schema, &ranked.columns)?;
        Ok(Some(Carried::of(plan, ranked.columns)))
    }

    /// The rows of a plan with their number among those of the same values, in its order.
    fn ranked(&mut self, plan: LogicalPlan) -> DfResult<Option<(Carried, Column)>> {
        let schema = Arc::clone(plan.schema());
        match plan {
            LogicalPlan::Projection(projection) if self.depends(&projection.input)? => {
                let input = Arc::unwrap_or_clone(projection.input);
                let Some((input, rank)) = self.ranked(input)? else { return Ok(None) };
                let Some(exprs) = self.bound(projection.expr, &input.columns)? else {
                    return Ok(None);
                };
                let named = exprs.into_iter().zip(schema.iter());
                let mut exprs: Vec<_> = named.map(|(expr, field)| under(expr, field)).collect();
                exprs.extend(input.exprs());
                exprs.push(Expr::Column(rank.clone()));
                let plan = project(input.plan, exprs)?;
                Ok(Some((Carried::of(plan, input.columns), rank)))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let input = Arc::unwrap_or_clone(alias.input);
                let Some((input, rank)) = self.ranked(input)? else { return Ok(None) };
                Ok(Some((Self::aliased(input, &schema)?, rank)))
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                let Some(input) = self.carry(Arc::unwrap_or_clone(sort.input))? else {
                    return Ok(None);
                };
                let Some(order) = self.bound_sorts(&sort.expr, &input.columns)? else {
                    return Ok(None);
                };
                self.numbered(input, order)
            }
            other => {
                let Some(input) = self.carry(other)? else { return Ok(None) };
                self.numbered(input, vec![])
            }
        }
    }

    fn numbered(
        &mut self,
        input: Carried,
        order: Vec<SortExpr>,
    ) -> DfResult<Option<(Carried, Column)>> {
        if input.lacks_empty {
            return Ok(None);
        }
        let rank = self.names.fresh();
        let number = number(input.exprs(), order)?.alias(&rank.name);
        let window = Window::try_new(vec![number], Arc::new(input.plan))?;
        let plan = LogicalPlan::Window(window);
        Ok(Some((Carried::of(plan, input.columns), rank)))
    }

    pub(super) fn distinct_on(&mut self, distinct: DistinctOn) -> DfResult<Option<Carried>> {
        let Some(input) = self.carry(Arc::unwrap_or_clone(distinct.input))? else {
            return Ok(None);
        };
        if input.lacks_empty {
            return Ok(None);
        }
        let order = distinct.sort_expr.unwrap_or_default();
        let (Some(on), Some(order), Some(exprs)) = (
            self.bound(distinct.on_expr, &input.columns)?,
            self.bound_sorts(&order, &input.columns)?,
            self.bound(distinct.select_expr, &input.columns)?,
        ) else {
            return Ok(None);
        };
        let mut same = input.exprs();
        same.extend(on);
        let rank = self.names.fresh();
        let number = number(same, order)?.alias(&rank.name);
        let plan = LogicalPlan::Window(Window::try_new(vec![number], Arc::new(input.plan))?);
        let plan = filter(plan, Expr::Column(rank).eq(lit(1_u64)))?;
        let named = exprs.into_iter().zip(distinct.schema.iter());
        let mut exprs: Vec<_> = named.map(|(expr, field)| under(expr, field)).collect();
        exprs.extend(input.columns.iter().cloned().map(Expr::Column));
        Ok(Some(Carried::of(project(plan, exprs)?, input.columns)))
    }
}

/// The number of a row among those with the same values.
fn number(same: Vec<Expr>, order: Vec<SortExpr>) -> DfResult<Expr> {
    let call = row_number();
    match (same.is_empty(), order.is_empty()) {
        (true, true) => Ok(call),
        (true, false) => call.order_by(order).build(),
        (false, true) => call.partition_by(same).build(),
        (false, false) => call.partition_by(same).order_by(order).build(),
    }
}

/// A window function over the rows of the same values alone.
pub(super) fn partitioned(expr: Expr, by: &[Expr]) -> DfResult<Expr> {
    let partitioned = expr.change_up(&mut |part| match part {
        Expr::WindowFunction(call) => {
            let WindowFunction { fun, mut params } = *call;
            params.partition_by.extend(by.iter().cloned());
            Ok(Transformed::yes(Expr::WindowFunction(Box::new(WindowFunction { fun, params }))))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(partitioned?.data)
}
