//! Functions for catalogs: binning.

pub mod cut;
pub mod width_bucket;
