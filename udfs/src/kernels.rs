//! Inner loops over plain slices, free of DataFusion.

pub mod bins;
pub mod filter;
pub mod grouped_values;
pub mod histogram;
pub mod interval_labels;
pub mod order_statistics;
pub mod sigma_clip;
