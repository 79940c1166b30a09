//! Floats are compared, sorted, grouped and joined by value, not by bits.
//!
//! Stage: the last before physical planning, after all logical rules, in this process and on a scheduler
//! alike. In: an optimised plan. Out: the same, in which `canonical` stands around each float that is
//! compared, is a key of a sort, group, join or window, or goes to an aggregate that compares.
//!
//! Why so late: rules recognise expressions by their shape, and conditions on plain columns are pushed.
//! Why not where values are read and computed: that would cost every query, and zeros would lose their
//! signs. Not here: why bits are not enough, and single expressions ([`crate::floats_by_value`]).
//! Conditions by which Parquet files are pruned: [`pruning`].

mod pruning;

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, Expr, GroupingSet, Join, JoinConstraint, LogicalPlan, LogicalPlanBuilder,
    RecursiveQuery,
};
use datafusion::optimizer::AnalyzerRule;

use crate::floats_by_value::{by_value, changed_part, has_floats, in_expr};
use crate::walk::{Walk, WalkPlan};

/// The plan, with floats compared by value everywhere.
///
/// # Errors
/// Those of making plans anew.
pub fn compare_by_value(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    Ok(plan.change_up_with_subqueries(&mut |node| changed_node(node).map(Transformed::yes))?.data)
}

fn changed_node(node: LogicalPlan) -> DfResult<LogicalPlan> {
    match node {
        LogicalPlan::Join(join) => changed_join(join),
        LogicalPlan::Aggregate(aggregate) => changed_aggregate(aggregate),
        LogicalPlan::Filter(mut filter) => {
            let schema = Arc::clone(filter.input.schema());
            let pruning = pruning::conditions(&filter);
            let condition = in_expr(filter.predicate, &schema)?;
            filter.predicate = pruning.into_iter().fold(condition, Expr::and);
            Ok(LogicalPlan::Filter(filter))
        }
        LogicalPlan::Sort(mut sort) => {
            let schema = Arc::clone(sort.input.schema());
            for key in &mut sort.expr {
                let expr = in_expr(std::mem::take(&mut key.expr), &schema)?;
                key.expr = by_value(expr, &schema)?;
            }
            Ok(LogicalPlan::Sort(sort))
        }
        LogicalPlan::RecursiveQuery(query) if query.is_distinct => changed_recursion(query),
        // a scan's conditions are a copy, or those of arrays
        LogicalPlan::TableScan(_) => Ok(node),
        node => changed_expressions(node),
    }
}

/// Any other operator, whose expressions keep their names.
fn changed_expressions(node: LogicalPlan) -> DfResult<LogicalPlan> {
    let schema = merge_schema(&node.inputs());
    let names = NamePreserver::new(&node);
    let changed = node.change_expressions(&mut |expr| {
        let name = names.save(&expr);
        Ok(Transformed::yes(name.restore(in_expr(expr, &schema)?)))
    });
    Ok(changed?.data)
}

fn changed_join(mut join: Join) -> DfResult<LogicalPlan> {
    let (left, right) = (Arc::clone(join.left.schema()), Arc::clone(join.right.schema()));
    let key = |key: &mut Expr, schema: &DFSchema| -> DfResult<()> {
        let before = std::mem::take(key);
        *key = by_value(in_expr(before.clone(), schema)?, schema)?;
        if *key != before {
            // the planner makes it a column under its name, which leaves out casts
            let name = key.to_string();
            *key = std::mem::take(key).alias(name);
        }
        Ok(())
    };
    for (one, other) in &mut join.on {
        key(one, &left)?;
        key(other, &right)?;
    }
    if join.on.iter().flat_map(|(one, other)| [one, other]).any(|key| key.try_as_col().is_none()) {
        // USING is for columns, and for names that have been found already
        join.join_constraint = JoinConstraint::On;
    }
    if let Some(filter) = join.filter.take() {
        let mut both = left.as_ref().clone();
        both.merge(&right);
        join.filter = Some(in_expr(filter, &both)?);
    }
    Ok(LogicalPlan::Join(join))
}

fn changed_aggregate(aggregate: Aggregate) -> DfResult<LogicalPlan> {
    let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
    let inner = Arc::clone(input.schema());
    let names = NamePreserver::new_for_projection();
    let key = |expr: Expr| {
        let name = names.save(&expr);
        DfResult::Ok(name.restore(by_value(in_expr(expr, &inner)?, &inner)?))
    };
    let keys = |list: Vec<Expr>| list.into_iter().map(key).collect::<DfResult<Vec<_>>>();
    let group_expr = group_expr.into_iter().map(|expr| {
        Ok(match expr {
            Expr::GroupingSet(GroupingSet::Rollup(list)) => {
                Expr::GroupingSet(GroupingSet::Rollup(keys(list)?))
            }
            Expr::GroupingSet(GroupingSet::Cube(list)) => {
                Expr::GroupingSet(GroupingSet::Cube(keys(list)?))
            }
            Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
                let sets = sets.into_iter().map(keys).collect::<DfResult<_>>()?;
                Expr::GroupingSet(GroupingSet::GroupingSets(sets))
            }
            expr => key(expr)?,
        })
    });
    let group_expr = group_expr.collect::<DfResult<Vec<_>>>()?;
    let aggr_expr = aggr_expr.into_iter().map(|expr| {
        let name = names.save(&expr);
        Ok(name.restore(in_expr(expr, &inner)?))
    });
    let aggr_expr = aggr_expr.collect::<DfResult<Vec<_>>>()?;
    let changed = Aggregate::try_new_with_schema(input, group_expr, aggr_expr, schema)?;
    Ok(LogicalPlan::Aggregate(changed))
}

/// WITH RECURSIVE … UNION, which leaves out rows that came before.
fn changed_recursion(mut query: RecursiveQuery) -> DfResult<LogicalPlan> {
    for term in [&mut query.static_term, &mut query.recursive_term] {
        let schema = Arc::clone(term.schema());
        if !schema.fields().iter().any(|field| has_floats(field.data_type())) {
            continue;
        }
        let columns = schema.columns().into_iter().map(|column| {
            let (relation, name) = (column.relation.clone(), column.name.clone());
            let value = by_value(Expr::Column(column), &schema)?;
            Ok(value.alias_qualified(relation, name))
        });
        let columns = columns.collect::<DfResult<Vec<_>>>()?;
        let plan = LogicalPlanBuilder::from(term.as_ref().clone()).project(columns)?;
        *term = Arc::new(plan.build()?);
    }
    Ok(LogicalPlan::RecursiveQuery(query))
}

/// Comparisons of constants, which the optimizer evaluates before [`compare_by_value`] comes.
///
/// Stage: analyzer, after types are known. Running it twice changes nothing.
#[derive(Debug)]
pub struct ConstantsByValue;

impl AnalyzerRule for ConstantsByValue {
    fn name(&self) -> &str {
        "constants_by_value"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let changed = plan.change_up_with_subqueries(&mut |node| {
            let names = NamePreserver::new(&node);
            node.change_expressions(&mut |expr| constants_by_value(expr, &names))
        });
        Ok(changed?.data)
    }
}

fn constants_by_value(expr: Expr, names: &NamePreserver) -> DfResult<Transformed<Expr>> {
    let any = Cell::new(false);
    let before = expr.clone();
    let changed = expr.change_up(&mut |part| {
        changed_part(part, &|expr| {
            if !is_computed_constant(&expr)? {
                return Ok(expr);
            }
            any.set(true);
            by_value(expr, &DFSchema::empty())
        })
    })?;
    match any.get() {
        false => Ok(Transformed::no(before)),
        true => Ok(Transformed::yes(names.save(&before).restore(changed.data))),
    }
}

/// Whether an expression that is no literal needs no rows.
fn is_computed_constant(expr: &Expr) -> DfResult<bool> {
    if matches!(expr, Expr::Literal(..) | Expr::Column(_)) || expr.is_volatile() {
        return Ok(false);
    }
    let mut constant = true;
    expr.walk(&mut |part| {
        constant &= matches!(
            part,
            Expr::Literal(..)
                | Expr::BinaryExpr(_)
                | Expr::Negative(_)
                | Expr::Cast(_)
                | Expr::TryCast(_)
                | Expr::Case(_)
                | Expr::ScalarFunction(_)
                | Expr::Alias(_)
        );
        Ok(if constant { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(constant)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use datafusion::prelude::SessionContext;

    /// When this fails, DataFusion compares floats by value, and this module can go.
    #[tokio::test]
    async fn datafusion_alone_compares_bits() {
        let sql = "SELECT x = -x FROM (VALUES ('NaN'::DOUBLE)) AS t(x)";
        let found = SessionContext::new().sql(sql).await.unwrap().collect().await.unwrap();
        assert!(!found[0].column(0).as_boolean().value(0));
    }
}
