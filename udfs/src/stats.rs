//! Statistics: aggregates over the values of a group.

pub mod collect;
pub mod collect_window;
pub mod histogram;
pub mod mad_std;
pub mod median;
pub mod percentile_cont;
pub mod sigma_clipped;
pub mod sigma_clipped_mean;
pub mod sigma_clipped_median;
pub mod sigma_clipped_stddev;
pub mod statistic_function;
