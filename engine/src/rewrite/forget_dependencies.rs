//! Nothing is concluded from keys that are called unique.
//!
//! Stage: optimizer, before each rule of DataFusion's that asks for functional dependencies. DataFusion 55
//! derives from GROUP BY, DISTINCT and numbered rows which columns determine others, and loses on the way
//! through joins and further groups that a key came several times, or is NULL. So DISTINCT was left out,
//! keys of GROUP BY and ORDER BY were dropped, and rows came twice or groups became one
//! (<https://github.com/apache/datafusion/issues/23634>, 23818, 23819, 23820).
//! In: a plan. Out: the same, whose schemas say of no column that others depend on it, and DISTINCT as groups:
//! DataFusion's rule for it makes dependencies and asks for them in one run.
//! It can go when `tests/spec/sql/unique_keys.slt` holds without it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, FunctionalDependencies};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::walk::WalkPlan;

/// The rules that ask.
pub const ASKING: [&str; 4] = [
    "replace_distinct_aggregate",
    "eliminate_join",
    "eliminate_duplicated_expr",
    "optimize_projections",
];

/// The one of them that makes semi joins of joins to groups, and is asked of plans whose keys are in no doubt.
const WITHOUT_DOUBT: &str = "eliminate_join";

/// The rule.
#[derive(Debug)]
pub struct ForgetDependencies {
    unless_in_no_doubt: bool,
}

impl ForgetDependencies {
    /// The rule before the one of DataFusion's of this name.
    pub fn before(rule: &str) -> Self {
        Self { unless_in_no_doubt: rule == WITHOUT_DOUBT }
    }
}

impl OptimizerRule for ForgetDependencies {
    fn name(&self) -> &str {
        "forget_dependencies"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        // what is forgotten is asked for again after each change of a plan, and is no change itself: the
        // optimizer is to end when nothing else changes
        let mut plan = plan;
        if self.unless_in_no_doubt {
            plan = plan
                .change_up_with_subqueries(&mut |node| {
                    Ok(Transformed::no(node.recompute_schema()?))
                })?
                .data;
            if !is_doubtful(&plan)? {
                return Ok(Transformed::no(plan));
            }
        }
        let forgotten =
            plan.change_up_with_subqueries(&mut |node| Ok(forgetful(grouped(node)?)))?;
        Ok(Transformed::new_transformed(forgotten.data, false))
    }
}

/// Whether groups by several keys are made of rows of which it is said which columns determine others.
fn is_doubtful(plan: &LogicalPlan) -> DfResult<bool> {
    let mut doubtful = false;
    plan.walk_with_subqueries(&mut |node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            let dependencies = aggregate.input.schema().functional_dependencies();
            doubtful |= aggregate.group_expr.len() > 1 && !dependencies.is_empty();
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(doubtful)
}

/// DISTINCT as groups of all columns.
fn grouped(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    match plan {
        LogicalPlan::Distinct(Distinct::All(input)) if !input.schema().fields().is_empty() => {
            let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
            Ok(LogicalPlan::Aggregate(Aggregate::try_new(input, columns, vec![])?))
        }
        other => Ok(other),
    }
}

fn forgetful(mut plan: LogicalPlan) -> Transformed<LogicalPlan> {
    if plan.schema().functional_dependencies().is_empty() {
        return Transformed::no(plan);
    }
    let schema = match &mut plan {
        LogicalPlan::Projection(node) => &mut node.schema,
        LogicalPlan::SubqueryAlias(node) => &mut node.schema,
        LogicalPlan::Aggregate(node) => &mut node.schema,
        LogicalPlan::Window(node) => &mut node.schema,
        LogicalPlan::Join(node) => &mut node.schema,
        LogicalPlan::TableScan(node) => &mut node.projected_schema,
        LogicalPlan::Unnest(node) => &mut node.schema,
        LogicalPlan::Distinct(Distinct::On(node)) => &mut node.schema,
        _ => return Transformed::no(plan),
    };
    match without(schema) {
        Ok(forgotten) => {
            *schema = forgotten;
            Transformed::yes(plan)
        }
        Err(_) => Transformed::no(plan),
    }
}

fn without(schema: &DFSchema) -> DfResult<DFSchemaRef> {
    let schema = schema.clone();
    Ok(Arc::new(schema.with_functional_dependencies(FunctionalDependencies::empty())?))
}
