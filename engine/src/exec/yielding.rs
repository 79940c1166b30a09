//! Joins of all pairs let others have their turn.
//!
//! DataFusion lets scans yield after some batches, and what reads them with them. A join that makes
//! thousands of batches of one that was scanned would not yield for so long, so nobody could end it.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result as DfResult;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec};

use crate::walk::Walk;

/// The rule. It runs after all that look at joins.
#[derive(Debug)]
pub struct YieldingJoins;

impl PhysicalOptimizerRule for YieldingJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.change_up(&mut |plan| {
            if plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>() {
                return Ok(Transformed::yes(Arc::new(CooperativeExec::new(plan))));
            }
            Ok(Transformed::no(plan))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "YieldingJoins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::registry::Registry;
    use crate::{Session, SessionOptions};

    #[tokio::test]
    async fn a_join_of_all_pairs_can_be_stopped() {
        let options = SessionOptions { threads: Some(1), ..SessionOptions::default() };
        let session = Session::try_new(&Registry::default(), &options).unwrap();
        let sql = "SELECT sum((a.value + b.value) % 7) FROM generate_series(1, 10000) a \
                   CROSS JOIN generate_series(1, 1000000000) b";
        let frame = session.sql(sql).await.unwrap();
        // one thread: the clock is looked at only when the query yields
        let stopped = tokio::time::timeout(Duration::from_millis(200), frame.collect()).await;
        assert!(stopped.is_err());
    }
}
