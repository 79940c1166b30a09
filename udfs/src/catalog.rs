//! Functions for catalogs: binning.

pub mod cut;
pub mod group_by_bin;
pub mod width_bucket;
