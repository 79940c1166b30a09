//! Inner loops over plain slices, free of DataFusion.

pub mod bins;
#[allow(clippy::redundant_closure)] // closures are inlined into the vector code
pub mod filter;
pub mod grouped_values;
pub mod histogram;
pub mod interval_labels;
pub mod normal_quantile;
pub mod order_statistics;
pub mod philox;
pub mod sigma_clip;
