//! Groups by floats are not kept in DataFusion's table of the k first groups.
//!
//! Stage: in DataFusion's physical rule `LimitAggregation`, which this takes the place of. In: a plan. Out:
//! what that rule gives, or the plan as it is if a key of one of its aggregates is a float.
//!
//! That table of DataFusion 55 (`aggregates/topk/hash_table.rs`) compares keys with `==`, by which a NaN is not
//! itself: `SELECT DISTINCT x … ORDER BY x LIMIT 1` panicked as soon as a NaN had to leave it. This can go
//! when the specification (`tests/spec/sql/aggregates.slt`) holds without it.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;

use crate::walk::Walk;

/// What DataFusion calls its rule.
const KEEPS_FIRST_GROUPS: &str = "LimitAggregation";

/// Puts the rule in the place of DataFusion's.
pub fn keep_all_groups_of_floats(builder: &mut SessionStateBuilder) {
    let rules = builder.physical_optimizers().get_or_insert_with(PhysicalOptimizer::default);
    for rule in &mut rules.rules {
        if rule.name() == KEEPS_FIRST_GROUPS {
            *rule = Arc::new(FloatKeys(Arc::clone(rule)));
        }
    }
}

/// DataFusion's rule, for plans that do not group by floats.
#[derive(Debug)]
struct FloatKeys(Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl PhysicalOptimizerRule for FloatKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let mut found = false;
        plan.walk(&mut |node| {
            found |= node.downcast_ref::<AggregateExec>().is_some_and(groups_by_floats);
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if found { Ok(plan) } else { self.0.optimize(plan, config) }
    }
}

fn groups_by_floats(aggregate: &AggregateExec) -> bool {
    let input = aggregate.input().schema();
    let mut keys = aggregate.group_expr().expr().iter();
    keys.any(|(key, _)| key.data_type(&input).is_ok_and(|kind| kind.is_floating()))
}
