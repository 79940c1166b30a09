//! The size of a plan, before rules rewrite it.
//!
//! In: the plan that DataFusion makes of a statement. Out: nothing, or what of it is too large.
//! WITH queries and views stand once in a plan for each time that they are read, though in memory
//! they are shared until a rule takes them apart: sixteen queries that each join the one before
//! twice are 65,536 scans. So parts are measured once and counted as often as they are read.

use std::collections::HashMap;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::stacks::for_this_build;
use crate::walk::{Walk, WalkPlan};
use crate::{Error, Result};

/// Operators of a plan.
const OPERATORS_MAX: u64 = 10_000;
/// Columns of all operators together: what rules look through, again and again.
const COLUMNS_MAX: u64 = 1_000_000;
/// Parts of all expressions together.
const TERMS_MAX: u64 = 5_000_000;
/// Operators on each other.
const HEIGHT_MAX: u64 = for_this_build(1200) as u64;
/// Terms in each other, in all operators on each other: rules merge expressions of neighbours.
const DEPTH_MAX: u64 = for_this_build(1200) as u64;
/// Subqueries of expressions in each other: DataFusion's rules look at each from all around it, so
/// every level takes twice the time of the one before.
const SUBQUERIES_MAX: u64 = 10;
/// Terms in each other that are not counted, as every operator has some.
const DEPTH_FREE: u64 = 8;

/// Refuses plans that are too large to be optimized or run.
///
/// # Errors
/// `Exhausted`, which names what is too large.
pub fn check_size(plan: &LogicalPlan) -> Result<()> {
    let size = Measure::default().of_plan(plan)?;
    let limits = [
        ("operators", size.operators, OPERATORS_MAX),
        ("columns in its operators", size.columns, COLUMNS_MAX),
        ("terms in its expressions", size.terms, TERMS_MAX),
        ("operators on each other", size.height, HEIGHT_MAX),
        ("terms in each other", size.depth, DEPTH_MAX),
        ("subqueries in each other", size.subqueries, SUBQUERIES_MAX),
    ];
    for (what, seen, most) in limits {
        if seen > most {
            return Err(Error::exhausted(format!(
                "the plan of the statement has {seen} {what}, and {most} are the most; WITH queries \
                 and views count each time that they are read: make tables of those that are read \
                 often (CREATE TABLE … AS)"
            )));
        }
    }
    Ok(())
}

/// How large a plan or an expression is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Size {
    operators: u64,
    columns: u64,
    terms: u64,
    height: u64,
    depth: u64,
    subqueries: u64,
}

impl Size {
    /// Adds what lies beside what was added before.
    fn add(&mut self, other: Self) {
        self.operators = self.operators.saturating_add(other.operators);
        self.columns = self.columns.saturating_add(other.columns);
        self.terms = self.terms.saturating_add(other.terms);
        self.height = self.height.max(other.height);
        self.depth = self.depth.max(other.depth);
        self.subqueries = self.subqueries.max(other.subqueries);
    }
}

/// Measures, and remembers what it has measured by its place in memory.
#[derive(Default)]
struct Measure {
    known: HashMap<*const LogicalPlan, Size>,
}

impl Measure {
    fn of_plan(&mut self, plan: &LogicalPlan) -> DfResult<Size> {
        if let Some(known) = self.known.get(&std::ptr::from_ref(plan)) {
            return Ok(*known);
        }
        let mut inputs = Size::default();
        for input in plan.inputs() {
            inputs.add(self.of_plan(input)?);
        }
        let mut expressions = Size::default();
        plan.walk_expressions(&mut |expr| {
            expressions.add(self.of_expression(expr)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        let depth = inputs.depth + expressions.depth.saturating_sub(DEPTH_FREE);
        let mut size = inputs;
        size.add(expressions);
        size.operators = size.operators.saturating_add(1);
        size.columns = size.columns.saturating_add(plan.schema().fields().len() as u64);
        size.height += 1;
        size.depth = depth;
        self.known.insert(std::ptr::from_ref(plan), size);
        Ok(size)
    }

    fn of_expression(&mut self, expr: &Expr) -> DfResult<Size> {
        let mut size = Size::default();
        expr.walk_children(&mut |child| {
            size.add(self.of_expression(child)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        let subquery = match expr {
            Expr::ScalarSubquery(subquery) => Some(subquery),
            Expr::Exists(exists) => Some(&exists.subquery),
            Expr::InSubquery(within) => Some(&within.subquery),
            Expr::SetComparison(comparison) => Some(&comparison.subquery),
            _ => None,
        };
        if let Some(subquery) = subquery {
            let inner = self.of_plan(&subquery.subquery)?;
            size.add(Size { subqueries: inner.subqueries + 1, ..inner });
        }
        size.terms = size.terms.saturating_add(1);
        size.depth += 1;
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::logical_expr::{LogicalPlanBuilder, lit};

    use super::*;

    fn doubled(times: usize) -> LogicalPlan {
        let mut plan = LogicalPlanBuilder::empty(true).project([lit(1).alias("a")]).unwrap();
        for _ in 0..times {
            let half = Arc::new(plan.build().unwrap());
            let halves = LogicalPlanBuilder::from(Arc::clone(&half));
            plan = halves.union(half.as_ref().clone()).unwrap();
        }
        plan.build().unwrap()
    }

    #[test]
    fn what_is_read_twice_counts_twice_and_is_measured_once() {
        let size = |times| Measure::default().of_plan(&doubled(times)).unwrap();
        assert_eq!(size(0).operators, 2);
        assert_eq!(size(10).operators, 3 * 1024 - 1);
        assert_eq!(size(100).operators, u64::MAX);
        check_size(&doubled(10)).unwrap();
        let error = check_size(&doubled(16)).unwrap_err();
        assert!(error.message().contains("196607 operators"), "{error}");
    }

    #[test]
    fn expressions_of_operators_on_each_other_add_up() {
        let mut plan = LogicalPlanBuilder::empty(true).project([lit(1).alias("a")]).unwrap();
        for _ in 0..10 {
            let sum = (0..200).fold(datafusion::prelude::col("a"), |sum, _| sum + lit(1));
            plan = plan.project([sum.alias("a")]).unwrap();
        }
        let error = check_size(&plan.build().unwrap()).unwrap_err();
        assert!(error.message().contains("terms in each other"), "{error}");
    }
}
