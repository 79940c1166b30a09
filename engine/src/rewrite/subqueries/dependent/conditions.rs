//! Conditions that read outer rows.
//!
//! Stage: part of `dependent.rs`. By equalities: `inner = outer` gives a carried column, what reads the
//! outer row alone is asked of it later, and anything else needs the domain.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, Operator};

use super::{Carried, Dependent, Source};
use crate::rewrite::subqueries::scope::{holds_subquery, unbound};
use crate::rewrite::subqueries::shape;

impl Dependent<'_> {
    pub(super) fn filter(&mut self, filter: Filter) -> DfResult<Option<Carried>> {
        let Some(input) = self.carry(Arc::unwrap_or_clone(filter.input))? else { return Ok(None) };
        if input.lacks_empty {
            return Ok(None);
        }
        self.where_holds(input, vec![filter.predicate])
    }

    /// The rows for which all the predicates hold.
    pub(super) fn where_holds(
        &mut self,
        input: Carried,
        predicates: Vec<Expr>,
    ) -> DfResult<Option<Carried>> {
        if matches!(self.source, Source::Domain { .. }) {
            let Some(bound) = self.bound(predicates, &input.columns)? else { return Ok(None) };
            let Some(predicate) = conjunction(bound) else { return Ok(Some(input)) };
            return Ok(Some(Carried { plan: shape::filter(input.plan, predicate)?, ..input }));
        }
        let (mut local, mut keys) = (vec![], vec![]);
        for condition in predicates.into_iter().flat_map(split_conjunction_owned) {
            if !self.reads_outer(&condition) {
                local.push(condition);
            } else if is_of_outer_row(&condition) {
                self.ask_later(condition)?;
            } else if let Some(key) = self.key(condition) {
                keys.push(key);
            } else {
                return Ok(None);
            }
        }
        let Carried { mut plan, mut columns, .. } = input;
        if let Some(predicate) = conjunction(local) {
            plan = shape::filter(plan, predicate)?;
        }
        let mut more = vec![];
        for (outer, inner) in keys {
            let name = self.names.fresh();
            more.push(inner.alias(&name.name));
            columns.push(name.clone());
            self.equal(outer, name)?;
        }
        if !more.is_empty() {
            plan = shape::extend(plan, more)?;
        }
        Ok(Some(Carried::of(plan, columns)))
    }

    /// The sides of `inner = outer`, the outer one first.
    fn key(&self, condition: Expr) -> Option<(Expr, Expr)> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else {
            return None;
        };
        let is_outer = |side: &Expr| self.reads_outer(side) && is_of_outer_row(side);
        let is_inner = |side: &Expr| !self.reads_outer(side) && !side.column_refs().is_empty();
        if is_outer(&left) && is_inner(&right) {
            Some((*left, *right))
        } else if is_outer(&right) && is_inner(&left) {
            Some((*right, *left))
        } else {
            None
        }
    }

    fn ask_later(&mut self, condition: Expr) -> DfResult<()> {
        let condition = unbound(condition, &self.outer)?;
        if let Source::Equalities { conditions, .. } = &mut self.source {
            conditions.push(condition);
        }
        Ok(())
    }

    fn equal(&mut self, outer: Expr, carried: Column) -> DfResult<()> {
        let outer = unbound(outer, &self.outer)?;
        if let Source::Equalities { keys, .. } = &mut self.source {
            keys.push((outer, carried));
        }
        Ok(())
    }
}

/// Whether an expression is the same for all rows of the subquery.
fn is_of_outer_row(expr: &Expr) -> bool {
    expr.column_refs().is_empty() && !expr.is_volatile() && !holds_subquery(expr)
}
