//! SQL functions that DataFusion lacks, or does slower or less exactly: one file a function, one
//! line in the lists below. Each function describes itself (`documentation.rs`).
//!
//! This crate knows no file format.

mod array;
mod catalog;
mod constant;
mod documentation;
mod kernels;
mod relations;
mod stats;

use std::sync::Arc;

use almagest_engine::array::ArrayDefinition;
use almagest_engine::catalog::ArrayRelation;
use datafusion::error::Result;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::optimizer::OptimizerRule;

/// Every scalar function.
///
/// # Errors
/// `Bug` if a signature contradicts itself.
pub fn scalar_functions() -> Result<Vec<ScalarUDF>> {
    Ok(vec![catalog::cut::udf()?, catalog::width_bucket::udf()?])
}

/// Every aggregate function. Those with the name of one of DataFusion's take its place.
///
/// # Errors
/// `Bug` if a signature contradicts itself.
pub fn aggregate_functions() -> Result<Vec<AggregateUDF>> {
    Ok(vec![
        stats::histogram::udaf()?,
        stats::mad_std::udaf()?,
        stats::median::udaf(),
        stats::percentile_cont::udaf(),
        stats::sigma_clipped_mean::udaf()?,
        stats::sigma_clipped_median::udaf()?,
        stats::sigma_clipped_stddev::udaf()?,
    ])
}

/// Every function of arrays.
pub fn array_functions() -> Vec<Arc<dyn ArrayDefinition>> {
    array::definitions()
}

/// Every table function that gives an array.
pub fn array_relations() -> Vec<Arc<dyn ArrayRelation>> {
    relations::all()
}

/// Rules of the logical optimizer that know these functions, to be appended to DataFusion's.
pub fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![Arc::new(catalog::group_by_bin::GroupByBin)]
}
