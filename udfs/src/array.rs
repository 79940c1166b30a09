//! Functions of arrays: one file a function, one line in the list below. Each composes the stages of
//! [`stages`], whose inner loops are in [`crate::kernels::filter`].
//!
//! Names, arguments and meaning are `scipy.ndimage`'s.

mod convolve;
mod correlate;
mod gaussian_filter;
mod gaussian_gradient_magnitude;
mod gaussian_laplace;
mod grey_closing;
mod grey_dilation;
mod grey_erosion;
mod grey_opening;
mod laplace;
mod local_mean;
mod local_stddev;
mod map_blocks;
mod map_overlap;
mod maximum_filter;
mod median_filter;
mod minimum_filter;
mod percentile_filter;
mod prewitt;
mod rank_filter;
mod sobel;
mod stages;
mod uniform_filter;
mod white_tophat;

use std::sync::Arc;

use almagest_engine::array::ArrayDefinition;

/// Every array function.
pub fn definitions() -> Vec<Arc<dyn ArrayDefinition>> {
    vec![
        Arc::new(convolve::Convolve),
        Arc::new(correlate::Correlate),
        Arc::new(gaussian_filter::GaussianFilter),
        Arc::new(gaussian_gradient_magnitude::GaussianGradientMagnitude),
        Arc::new(gaussian_laplace::GaussianLaplace),
        Arc::new(grey_closing::GreyClosing),
        Arc::new(grey_dilation::GreyDilation),
        Arc::new(grey_erosion::GreyErosion),
        Arc::new(grey_opening::GreyOpening),
        Arc::new(laplace::Laplace),
        Arc::new(local_mean::LocalMean),
        Arc::new(local_stddev::LocalStddev),
        Arc::new(map_blocks::MapBlocks),
        Arc::new(map_overlap::MapOverlap),
        Arc::new(maximum_filter::MaximumFilter),
        Arc::new(median_filter::MedianFilter),
        Arc::new(minimum_filter::MinimumFilter),
        Arc::new(percentile_filter::PercentileFilter),
        Arc::new(prewitt::Prewitt),
        Arc::new(rank_filter::RankFilter),
        Arc::new(sobel::Sobel),
        Arc::new(uniform_filter::UniformFilter),
        Arc::new(white_tophat::WhiteTophat),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_described() {
        for definition in definitions() {
            let described = definition.documentation().arguments.clone().unwrap_or_default();
            let described: Vec<&str> = described.iter().map(|(name, _)| name.as_str()).collect();
            let parameters = [&["value"], definition.parameters()].concat();
            assert_eq!(described, parameters, "{}", definition.name());
        }
    }
}
