//! Logical rewrites over arrays, in the order in which they run.
//!
//! Every rule gives an ordinary plan over a table of ours, and running it twice changes nothing: a
//! cluster optimises a plan on the client and again on the scheduler.

mod array_plan;
mod block_windows;
mod carry;
mod dense_reduction;
mod group_key;
mod lowering;
mod marker;
mod quotients;
mod restate;
mod set_comparisons;
mod source;
mod zip;

use std::sync::Arc;

use datafusion::optimizer::{AnalyzerRule, OptimizerRule};

pub(crate) use array_plan::array_table_of;
pub(crate) use marker::register as register_array_function;
pub use marker::{lambda_parameter_names, refuse_calls};
pub(crate) use restate::unqualified;

/// The analyzer rules, to run after DataFusion's own.
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        Arc::new(set_comparisons::SetComparisons),
        // Before tables of both sides of a join become one, whose conditions are then bounds too.
        Arc::new(quotients::Quotients),
        // First of those over arrays, so that functions may read columns of both sides of a join.
        Arc::new(zip::Zip),
        // After types are known, and before the optimizer could evaluate or move a call.
        Arc::new(lowering::Lowering),
    ]
}

/// The optimizer rules, to run after DataFusion's own.
pub fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(quotients::Quotients),
        // Last, so that filters and projections have already been pushed to the scan, and types are
        // those that the aggregates compute in.
        Arc::new(dense_reduction::DenseReduction),
    ]
}
