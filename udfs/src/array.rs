//! Functions of arrays: one file a function, one line in the list below. Each composes the stages of
//! [`stages`], whose inner loops are in [`crate::kernels::filter`].
//!
//! Names, arguments and meaning are `scipy.ndimage`'s.

mod convolve;
mod correlate;
mod gaussian_filter;
mod laplace;
mod maximum_filter;
mod median_filter;
mod minimum_filter;
mod percentile_filter;
mod prewitt;
mod rank_filter;
mod sobel;
mod stages;
mod uniform_filter;

use std::sync::Arc;

use almagest_engine::array::ArrayDefinition;

/// Every array function.
pub fn definitions() -> Vec<Arc<dyn ArrayDefinition>> {
    vec![
        Arc::new(convolve::Convolve),
        Arc::new(correlate::Correlate),
        Arc::new(gaussian_filter::GaussianFilter),
        Arc::new(laplace::Laplace),
        Arc::new(maximum_filter::MaximumFilter),
        Arc::new(median_filter::MedianFilter),
        Arc::new(minimum_filter::MinimumFilter),
        Arc::new(percentile_filter::PercentileFilter),
        Arc::new(prewitt::Prewitt),
        Arc::new(rank_filter::RankFilter),
        Arc::new(sobel::Sobel),
        Arc::new(uniform_filter::UniformFilter),
    ]
}
