//! The planner computes small constants alone.
//!
//! DataFusion's rule evaluates every constant expression while a query is planned, on the planner's thread. While
//! it does, guarded functions refuse what is not small; the rule then leaves such an expression as it is, and the
//! query computes it where it runs.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// What DataFusion calls the rule.
const RULE: &str = "simplify_expressions";

thread_local! {
    static FOLDS: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread computes constants for a plan.
pub(super) fn folds() -> bool {
    FOLDS.get()
}

/// The rules, of which the one that computes constants leaves large ones.
pub fn small_constants_alone(
    rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let small = |rule: Arc<dyn OptimizerRule + Send + Sync>| match rule.name() {
        RULE => Arc::new(SmallConstants(rule)) as _,
        _ => rule,
    };
    rules.into_iter().map(small).collect()
}

#[derive(Debug)]
struct SmallConstants(Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for SmallConstants {
    fn name(&self) -> &str {
        RULE
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        let _folding = Folding::begin();
        self.0.rewrite(plan, config)
    }
}

/// Says that this thread folds, until it is dropped.
struct Folding {
    before: bool,
}

impl Folding {
    fn begin() -> Self {
        Self { before: FOLDS.replace(true) }
    }
}

impl Drop for Folding {
    fn drop(&mut self) {
        FOLDS.set(self.before);
    }
}
