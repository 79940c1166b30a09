//! Joins one or both of whose sides read outer rows.
//!
//! Stage: part of `dependent.rs`. Where both sides do, rows of the same values meet: their carried columns
//! are compared with NULL equal to NULL, and the join's own keys become conditions, as a join compares all
//! its keys in one way.

use std::sync::Arc;

use datafusion::common::{Column, DFSchemaRef, NullEquality};
use datafusion::error::Result as DfResult;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, Operator, binary_expr};

use super::{Carried, Dependent, Source, restored};
use crate::Error;
use crate::rewrite::subqueries::shape::{columns, join, project};

impl Dependent<'_> {
    pub(super) fn join(&mut self, node: Join) -> DfResult<Option<Carried>> {
        match self.source {
            Source::Equalities { .. } => self.join_by_equalities(node),
            Source::Domain { .. } => self.join_by_domain(node).map(Some),
        }
    }

    fn join_by_equalities(&mut self, node: Join) -> DfResult<Option<Carried>> {
        let inner = node.join_type == JoinType::Inner;
        let left_kept = matches!(
            node.join_type,
            JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti
        );
        let on_outer = node.on.iter().any(|(a, b)| self.reads_outer(a) || self.reads_outer(b));
        let filter_outer = node.filter.iter().any(|filter| self.reads_outer(filter));
        let right_outer = self.depends(&node.right)?;
        if !left_kept || on_outer || !inner && (filter_outer || right_outer) {
            return Ok(None);
        }
        let schema = Arc::clone(&node.schema);
        let Some(left) = self.carry(Arc::unwrap_or_clone(node.left))? else { return Ok(None) };
        let Some(right) = self.carry(Arc::unwrap_or_clone(node.right))? else { return Ok(None) };
        if left.lacks_empty || right.lacks_empty {
            return Ok(None);
        }
        let mut carried = left.columns;
        carried.extend(right.columns);
        let (kept, asked) = if filter_outer { (None, node.filter) } else { (node.filter, None) };
        let plan = LogicalPlan::Join(Join::try_new(
            Arc::new(left.plan),
            Arc::new(right.plan),
            node.on,
            kept,
            node.join_type,
            node.join_constraint,
            node.null_equality,
            node.null_aware,
        )?);
        let joined = restored(plan, &schema, carried)?;
        self.where_holds(joined, asked.into_iter().collect())
    }

    fn join_by_domain(&mut self, node: Join) -> DfResult<Carried> {
        let (keeps_left, keeps_right) = kept_sides(node.join_type);
        let carry_right = keeps_right || self.depends(&node.right)?;
        let carry_left = keeps_left || !carry_right || self.depends(&node.left)?;
        let schema = Arc::clone(&node.schema);
        let (left, left_columns) = self.side(node.left, carry_left)?;
        let (right, right_columns) = self.side(node.right, carry_right)?;
        let bound = if carry_left { &left_columns } else { &right_columns };
        let (ours, theirs): (Vec<_>, Vec<_>) = node.on.into_iter().unzip();
        let ours = self.bound(ours, bound)?.unwrap_or_default();
        let theirs = self.bound(theirs, bound)?.unwrap_or_default();
        let filter = self.bound(node.filter.into_iter().collect(), bound)?.unwrap_or_default();
        let mut filter = filter.into_iter().next();
        let own = ours.into_iter().zip(theirs);
        let null_safe = node.null_equality == NullEquality::NullEqualsNull;
        if !(carry_left && carry_right) {
            let carried = if carry_left { left_columns } else { right_columns };
            let plan = join(left, right, node.join_type, own.collect(), null_safe, filter)?;
            return restored(plan, &schema, carried);
        }
        let operator = if null_safe { Operator::IsNotDistinctFrom } else { Operator::Eq };
        for (a, b) in own {
            let same = binary_expr(a, operator, b);
            filter = Some(match filter {
                Some(filter) => filter.and(same),
                None => same,
            });
        }
        let keys = left_columns.iter().zip(&right_columns);
        let keys = keys.map(|(a, b)| (Expr::Column(a.clone()), Expr::Column(b.clone())));
        let plan = join(left, right, node.join_type, keys.collect(), true, filter)?;
        match (keeps_left, keeps_right) {
            (true, true) => of_either(plan, &schema, left_columns, &right_columns),
            (false, true) => restored(plan, &schema, right_columns),
            _ => restored(plan, &schema, left_columns),
        }
    }

    /// A side with its carried columns, if it is to have any.
    fn side(
        &mut self,
        plan: Arc<LogicalPlan>,
        carried: bool,
    ) -> DfResult<(LogicalPlan, Vec<Column>)> {
        let plan = Arc::unwrap_or_clone(plan);
        if !carried {
            return Ok((plan, vec![]));
        }
        let side = self.carry(plan)?.ok_or_else(|| Error::bug("a domain is not carried"))?;
        Ok((side.plan, side.columns))
    }
}

/// Whether rows of the left and of the right side come out that have no partner, or alone.
fn kept_sides(join_type: JoinType) -> (bool, bool) {
    match join_type {
        JoinType::Inner => (false, false),
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
            (true, false)
        }
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
            (false, true)
        }
        JoinType::Full => (true, true),
    }
}

/// A full join, whose rows have the carried columns of one side at least.
fn of_either(
    plan: LogicalPlan,
    schema: &DFSchemaRef,
    left: Vec<Column>,
    right: &[Column],
) -> DfResult<Carried> {
    let mut exprs = columns(schema);
    for (a, b) in left.iter().zip(right) {
        let either = coalesce(vec![Expr::Column(a.clone()), Expr::Column(b.clone())]);
        exprs.push(either.alias(&a.name));
    }
    Ok(Carried::of(project(plan, exprs)?, left))
}
