//! Functions of arrays: one file a function, one line in the list below. Each composes the stages of
//! [`stages`], whose inner loops are in [`crate::kernels::filter`].
//!
//! Names, arguments and meaning are `scipy.ndimage`'s.

mod convolve;
mod correlate;
mod filter;
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
use filter::Filter;

/// Every array function.
static FILTERS: &[&Filter] = &[
    &convolve::CONVOLVE,
    &correlate::CORRELATE,
    &gaussian_filter::GAUSSIAN_FILTER,
    &gaussian_gradient_magnitude::GAUSSIAN_GRADIENT_MAGNITUDE,
    &gaussian_laplace::GAUSSIAN_LAPLACE,
    &grey_closing::GREY_CLOSING,
    &grey_dilation::GREY_DILATION,
    &grey_erosion::GREY_EROSION,
    &grey_opening::GREY_OPENING,
    &laplace::LAPLACE,
    &local_mean::LOCAL_MEAN,
    &local_stddev::LOCAL_STDDEV,
    &map_blocks::MAP_BLOCKS,
    &map_overlap::MAP_OVERLAP,
    &maximum_filter::MAXIMUM_FILTER,
    &median_filter::MEDIAN_FILTER,
    &minimum_filter::MINIMUM_FILTER,
    &percentile_filter::PERCENTILE_FILTER,
    &prewitt::PREWITT,
    &rank_filter::RANK_FILTER,
    &sobel::SOBEL,
    &uniform_filter::UNIFORM_FILTER,
    &white_tophat::WHITE_TOPHAT,
];

/// Every array function, as the engine knows them.
pub fn definitions() -> Vec<Arc<dyn ArrayDefinition>> {
    FILTERS.iter().map(|filter| Arc::new(*filter) as Arc<dyn ArrayDefinition>).collect()
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
