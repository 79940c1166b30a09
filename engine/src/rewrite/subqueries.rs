//! Subqueries in expressions become joins, with SQL's three-valued logic, wherever they stand.
//!
//! Stage: analyzer, after all others. In: a plan whose expressions hold `EXISTS`, `IN`, `ANY`, `ALL` and
//! scalar subqueries. Out: one in which only those are left that DataFusion 55 plans rightly and fast
//! (`left_alone.rs`). `WHERE a NOT IN (SELECT b FROM r) OR a = 99` becomes
//!
//! ```text
//! Filter: NOT CASE WHEN mark IS NOT NULL THEN true WHEN rows = 0 THEN false
//!                  WHEN a IS NULL OR rows > values THEN NULL ELSE false END OR a = 99
//!   Left Join: a = b
//!     Cross Join: (count(*) AS rows, count(b) AS values FROM r), l
//!     SELECT b, true AS mark FROM r WHERE b IS NOT NULL GROUP BY b
//! ```
//!
//! DataFusion's own rules know two of SQL's three values outside of conditions that stand alone in WHERE
//! (its mark joins say true or false, <https://github.com/apache/datafusion/issues/10583> and its kin), lose
//! NULLs of correlated NOT IN, and refuse subqueries in SELECT, CASE, FILTER and JOIN, and references two
//! queries out. The rule can go when `tests/spec/sql/subqueries.slt` holds without it.
//! Inner queries first: what they read of queries further out stays a reference, which the next turn takes.
//! Idempotent: what is left is left again. Not here: how rows are joined (`values.rs`, `dependent.rs`).

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, DistinctOn, Expr, Filter, LogicalPlan, Operator, Projection,
    Sort, Subquery, Window, not,
};
use datafusion::optimizer::AnalyzerRule;

use crate::walk::{Walk, WalkPlan};

mod dependent;
mod domain;
mod left_alone;
mod one_row;
mod scope;
mod shape;
mod sides;
mod values;

pub(super) use one_row::one_row;
use scope::{holds_subquery, outer_columns};
use shape::{Names, columns, filter, only, project, renamed, under};
use values::{Rows, has_one_row_at_most};

/// The rule.
#[derive(Debug)]
pub struct Subqueries;

impl AnalyzerRule for Subqueries {
    fn name(&self) -> &str {
        "subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        if !has_subqueries(&plan)? {
            return Ok(plan);
        }
        let mut names = Names::beside(&plan)?;
        let plan = Turn { names: &mut names, depth: 0 }.plan(plan)?;
        scope::refuse_unresolved(&plan)?;
        Ok(plan)
    }
}

fn has_subqueries(plan: &LogicalPlan) -> DfResult<bool> {
    let mut found = false;
    plan.walk(&mut |node| {
        found |= matches!(node, LogicalPlan::Subquery(_));
        node.walk_expressions(&mut |expr| {
            found |= holds_subquery(expr);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// One run of the rule.
#[derive(Debug)]
struct Turn<'a> {
    names: &'a mut Names,
    /// How many queries are around.
    depth: usize,
}

impl Turn<'_> {
    fn plan(&mut self, plan: LogicalPlan) -> DfResult<LogicalPlan> {
        let changed = plan.change_up(&mut |node| self.node(node))?;
        if !changed.transformed {
            return Ok(changed.data);
        }
        // what is nullable may have changed below
        Ok(changed.data.change_up(&mut |node| Ok(Transformed::yes(node.recompute_schema()?)))?.data)
    }

    /// The plan of a subquery.
    fn inner(&mut self, subquery: &Subquery) -> DfResult<LogicalPlan> {
        self.depth += 1;
        let plan = self.plan(subquery.subquery.as_ref().clone());
        self.depth -= 1;
        let plan = plan?;
        refuse_outer_aggregates(&plan)?;
        Ok(plan)
    }

    fn node(&mut self, plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
        if let LogicalPlan::Join(join) = &plan
            && scope::is_lateral(&join.right)
            && (self.depth > 0 || !sides::is_plain_lateral(join)?)
        {
            return Ok(Transformed::yes(self.lateral(join.clone())?));
        }
        let mut holds = false;
        plan.walk_expressions(&mut |expr| {
            holds |= holds_subquery(expr);
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !holds {
            return Ok(Transformed::no(plan));
        }
        Ok(Transformed::yes(match plan {
            LogicalPlan::Projection(node) => self.projection(node)?,
            LogicalPlan::Filter(node) => self.filter(node)?,
            LogicalPlan::Aggregate(node) => self.aggregate(node)?,
            LogicalPlan::Window(node) => self.window(node)?,
            LogicalPlan::Sort(node) => self.sort(node)?,
            LogicalPlan::Distinct(Distinct::On(node)) => self.distinct_on(node)?,
            LogicalPlan::Join(node) => self.join(node)?,
            LogicalPlan::Values(node) => {
                let union = sides::union_of(node)?;
                self.plan(union)?
            }
            other => return Ok(Transformed::no(other)),
        }))
    }

    fn projection(&mut self, node: Projection) -> DfResult<LogicalPlan> {
        let schema = node.schema;
        let mut site = self.site(Arc::unwrap_or_clone(node.input), true);
        let exprs = site.lift_all(node.expr)?;
        let named = exprs.into_iter().zip(schema.iter());
        project(site.rows.plan, named.map(|(expr, field)| under(expr, field)).collect())
    }

    fn filter(&mut self, node: Filter) -> DfResult<LogicalPlan> {
        let schema = Arc::clone(node.input.schema());
        let (with, without): (Vec<_>, Vec<_>) =
            split_conjunction_owned(node.predicate).into_iter().partition(holds_subquery);
        let mut plan = Arc::unwrap_or_clone(node.input);
        if let Some(predicate) = conjunction(without) {
            plan = filter(plan, predicate)?;
        }
        let (mut alone, mut others) = (vec![], vec![]);
        for condition in with {
            let condition = self.within(condition)?;
            if left_alone::is_plain_condition(&condition, &schema)? {
                alone.push(condition);
            } else {
                others.push(condition);
            }
        }
        if let Some(predicate) = conjunction(alone) {
            plan = filter(plan, predicate)?;
        }
        if others.is_empty() {
            return Ok(plan);
        }
        let mut site = self.site(plan, true);
        let mut lifted = vec![];
        for condition in others {
            lifted.push(site.lift(condition, true)?);
        }
        let plan = site.rows.plan;
        let plan = match conjunction(lifted) {
            Some(predicate) => filter(plan, predicate)?,
            None => plan,
        };
        only(plan, &schema, &[])
    }

    /// A condition whose subqueries have been through the rule themselves.
    fn within(&mut self, condition: Expr) -> DfResult<Expr> {
        let inner = condition.change_up(&mut |part| {
            let renewed = |subquery: &Subquery, plan: LogicalPlan| Subquery {
                outer_ref_columns: plan.all_out_ref_exprs(),
                subquery: Arc::new(plan),
                spans: subquery.spans.clone(),
            };
            Ok(match part {
                Expr::Exists(mut exists) => {
                    exists.subquery = renewed(&exists.subquery, self.inner(&exists.subquery)?);
                    Transformed::yes(Expr::Exists(exists))
                }
                Expr::InSubquery(mut contains) => {
                    contains.subquery =
                        renewed(&contains.subquery, self.inner(&contains.subquery)?);
                    Transformed::yes(Expr::InSubquery(contains))
                }
                Expr::SetComparison(mut comparison) => {
                    comparison.subquery =
                        renewed(&comparison.subquery, self.inner(&comparison.subquery)?);
                    Transformed::yes(Expr::SetComparison(comparison))
                }
                Expr::ScalarSubquery(subquery) => {
                    let plan = self.inner(&subquery)?;
                    Transformed::yes(Expr::ScalarSubquery(renewed(&subquery, plan)))
                }
                other => Transformed::no(other),
            })
        });
        Ok(inner?.data)
    }

    fn aggregate(&mut self, node: Aggregate) -> DfResult<LogicalPlan> {
        let schema = node.schema;
        let mut site = self.site(Arc::unwrap_or_clone(node.input), false);
        let groups = site.lift_all(node.group_expr)?;
        let aggregates = site.lift_all(node.aggr_expr)?;
        let plan = Aggregate::try_new(Arc::new(site.rows.plan), groups, aggregates)?;
        renamed(LogicalPlan::Aggregate(plan), &schema)
    }

    fn window(&mut self, node: Window) -> DfResult<LogicalPlan> {
        let schema = node.schema;
        let inner = columns(node.input.schema());
        let mut site = self.site(Arc::unwrap_or_clone(node.input), false);
        let exprs = site.lift_all(node.window_expr)?;
        let count = site.rows.plan.schema().fields().len();
        let plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(site.rows.plan))?);
        let own = columns(plan.schema()).split_off(count);
        let named = inner.into_iter().chain(own).zip(schema.iter());
        project(plan, named.map(|(expr, field)| under(expr, field)).collect())
    }

    fn sort(&mut self, node: Sort) -> DfResult<LogicalPlan> {
        let schema = Arc::clone(node.input.schema());
        let input = sides::with_columns_read(&node.expr, Arc::unwrap_or_clone(node.input))?;
        let mut site = self.site(input, false);
        let mut order = node.expr;
        for sort in &mut order {
            sort.expr = site.lift(std::mem::take(&mut sort.expr), false)?;
        }
        let input = Arc::new(site.rows.plan);
        let plan = LogicalPlan::Sort(Sort { expr: order, input, fetch: node.fetch });
        only(plan, &schema, &[])
    }

    fn distinct_on(&mut self, node: DistinctOn) -> DfResult<LogicalPlan> {
        let schema = node.schema;
        let mut site = self.site(Arc::unwrap_or_clone(node.input), false);
        let on = site.lift_all(node.on_expr)?;
        let exprs = site.lift_all(node.select_expr)?;
        let mut order = node.sort_expr;
        for sort in order.iter_mut().flatten() {
            sort.expr = site.lift(std::mem::take(&mut sort.expr), false)?;
        }
        let named = exprs.into_iter().zip(schema.iter());
        let exprs = named.map(|(expr, field)| under(expr, field)).collect();
        let plan = DistinctOn::try_new(on, exprs, order, Arc::new(site.rows.plan))?;
        Ok(LogicalPlan::Distinct(Distinct::On(plan)))
    }

    fn site(&mut self, plan: LogicalPlan, takes_scalars: bool) -> Site<'_> {
        let rows = Rows::of(plan, self.names);
        Site { rows, depth: self.depth, takes_scalars, known: vec![] }
    }
}

/// A node whose expressions hold subqueries.
struct Site<'a> {
    rows: Rows<'a>,
    depth: usize,
    /// Whether scalar subqueries that read no outer row may stand in its expressions, on a cluster too.
    takes_scalars: bool,
    /// What has been put in place of what: a subquery that stands twice is joined once.
    known: Vec<(Expr, Expr)>,
}

impl Site<'_> {
    fn lift_all(&mut self, exprs: Vec<Expr>) -> DfResult<Vec<Expr>> {
        exprs.into_iter().map(|expr| self.lift(expr, false)).collect()
    }

    /// `expr` without its subqueries; if `is_condition`, NULL may be false instead.
    fn lift(&mut self, expr: Expr, is_condition: bool) -> DfResult<Expr> {
        if !holds_subquery(&expr) {
            return Ok(expr);
        }
        match expr {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: op @ (Operator::And | Operator::Or),
                right,
            }) => {
                let left = Box::new(self.lift(*left, is_condition)?);
                let right = Box::new(self.lift(*right, is_condition)?);
                Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
            Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::ScalarSubquery(_) => self.lift_one(expr, is_condition),
            Expr::Lambda(_) => Err(crate::Error::unsupported(
                "a subquery inside a lambda; compute it outside, and name its value in the lambda",
            )
            .into()),
            other => Ok(other
                .change_children(&mut |part| Ok(Transformed::yes(self.lift(part, false)?)))?
                .data),
        }
    }

    fn lift_one(&mut self, expr: Expr, is_condition: bool) -> DfResult<Expr> {
        if let Some((_, answer)) = self.known.iter().find(|(known, _)| *known == expr) {
            return Ok(answer.clone());
        }
        let answer = match expr.clone() {
            Expr::Exists(exists) => {
                let plan = self.inner(&exists.subquery)?;
                let answer = self.rows.exists(plan)?;
                if exists.negated { not(answer) } else { answer }
            }
            Expr::InSubquery(contains) => {
                let value = self.lift(*contains.expr, false)?;
                let plan = self.inner(&contains.subquery)?;
                let as_condition = is_condition && !contains.negated;
                let answer = self.rows.contains(value, plan, as_condition)?;
                if contains.negated { not(answer) } else { answer }
            }
            Expr::SetComparison(comparison) => {
                let value = self.lift(comparison.expr.as_ref().clone(), false)?;
                let plan = self.inner(&comparison.subquery)?;
                self.rows.compared(value, plan, &comparison, is_condition)?
            }
            Expr::ScalarSubquery(subquery) => self.scalar(&subquery)?,
            other => return Ok(other),
        };
        if !is_condition {
            self.known.push((expr, answer.clone()));
        }
        Ok(answer)
    }

    fn inner(&mut self, subquery: &Subquery) -> DfResult<LogicalPlan> {
        Turn { names: self.rows.names, depth: self.depth }.inner(subquery)
    }

    fn scalar(&mut self, subquery: &Subquery) -> DfResult<Expr> {
        let plan = self.inner(subquery)?;
        let schema = Arc::clone(self.rows.schema());
        if !scope::free_columns(&plan)?.is_empty() {
            let inner = Subquery { subquery: Arc::new(plan.clone()), ..subquery.clone() };
            if self.takes_scalars && left_alone::is_plain_aggregate(&inner, &schema)? {
                let outer_ref_columns = plan.all_out_ref_exprs();
                return Ok(Expr::ScalarSubquery(Subquery { outer_ref_columns, ..inner }));
            }
            return self.rows.scalar(plan);
        }
        let plan = match has_one_row_at_most(&plan) {
            true => values::nullable(plan)?,
            false => self.rows.checked(plan)?,
        };
        let alone = Expr::ScalarSubquery(Subquery {
            subquery: Arc::new(plan),
            outer_ref_columns: vec![],
            spans: subquery.spans.clone(),
        });
        if self.takes_scalars { Ok(alone) } else { self.rows.column_of(alone) }
    }
}

/// Refuses aggregates inside a subquery that read outer rows alone: SQL says that they belong to the outer
/// query, which DataFusion's planner does not know.
fn refuse_outer_aggregates(plan: &LogicalPlan) -> DfResult<()> {
    plan.walk(&mut |node| {
        let LogicalPlan::Aggregate(aggregate) = node else {
            return Ok(TreeNodeRecursion::Continue);
        };
        for expr in &aggregate.aggr_expr {
            if expr.column_refs().is_empty() && !outer_columns(expr).is_empty() {
                return Err(crate::Error::unsupported(format!(
                    "{expr} in a subquery, an aggregate over columns of the query around it alone; \
                     compute it there, as SELECT … FROM (SELECT …, aggregate AS name …)"
                ))
                .into());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}
