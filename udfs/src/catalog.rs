//! Functions for catalogs.

pub mod cut;
