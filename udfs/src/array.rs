//! Functions of arrays: one file a function, one line in the list below. Each composes the stages of
//! [`stages`], whose inner loops are in [`crate::kernels::filter`].
//!
//! Names, arguments and meaning are `scipy.ndimage`'s.

mod gaussian_filter;
mod stages;

use std::sync::Arc;

use almagest_engine::array::ArrayDefinition;

/// Every array function.
pub fn definitions() -> Vec<Arc<dyn ArrayDefinition>> {
    vec![Arc::new(gaussian_filter::GaussianFilter)]
}
