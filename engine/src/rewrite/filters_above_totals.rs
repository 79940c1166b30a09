//! Conditions on the one row of an aggregate without keys stay above it.
//!
//! Stage: in DataFusion's `push_down_filter`, which this takes the place of. In: a plan. Out: what that rule
//! gives, but that no condition goes below an aggregate that gives a row of no rows.
//!
//! DataFusion 55 pushes a condition below an aggregate if all its columns are keys, and so one without
//! columns below an aggregate without keys: `SELECT m FROM (SELECT 'a' AS x, max(v) AS m FROM t) WHERE x =
//! 'b'` and `HAVING (SELECT …)` gave a row. Its rule for physical plans knows better. This can go when the
//! specification (`tests/spec/sql/aggregates.slt`) holds without it.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{Optimizer, OptimizerConfig, OptimizerRule};

/// What DataFusion calls its rule.
const PUSHES_FILTERS: &str = "push_down_filter";

/// Puts the rule in the place of DataFusion's.
pub fn install(builder: &mut SessionStateBuilder) {
    let optimizer = builder.optimizer().get_or_insert_with(Optimizer::default);
    for rule in &mut optimizer.rules {
        if rule.name() == PUSHES_FILTERS {
            *rule = Arc::new(FiltersAboveTotals(Arc::clone(rule)));
        }
    }
}

/// DataFusion's rule, but for filters that must stay.
#[derive(Debug)]
struct FiltersAboveTotals(Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for FiltersAboveTotals {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        if let LogicalPlan::Filter(filter) = &plan
            && let LogicalPlan::Aggregate(aggregate) = filter.input.as_ref()
            && gives_a_row_of_none(aggregate)
        {
            return Ok(Transformed::no(plan));
        }
        self.0.rewrite(plan, config)
    }
}

/// Whether an aggregate has a row of all rows, and so one where there are none.
fn gives_a_row_of_none(aggregate: &Aggregate) -> bool {
    let has_empty_set = |set: &GroupingSet| match set {
        GroupingSet::Rollup(_) | GroupingSet::Cube(_) => true,
        GroupingSet::GroupingSets(sets) => sets.iter().any(Vec::is_empty),
    };
    aggregate.group_expr.is_empty()
        || aggregate.group_expr.iter().any(|key| match key {
            Expr::GroupingSet(set) => has_empty_set(set),
            _ => false,
        })
}
