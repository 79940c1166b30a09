//! Logical rewrites over arrays, in the order in which they run.
//!
//! Every rule gives an ordinary plan over a table of ours, and running it twice changes nothing: a
//! cluster optimises a plan on the client and again on the scheduler.

mod dense_reduction;

use std::sync::Arc;

use datafusion::optimizer::OptimizerRule;

/// The optimizer rules, to run after DataFusion's own.
pub fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        // Last, so that filters and projections have already been pushed to the scan, and types are
        // those that the aggregates compute in.
        Arc::new(dense_reduction::DenseReduction),
    ]
}
