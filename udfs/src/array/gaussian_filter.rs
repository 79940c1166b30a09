//! `gaussian_filter(value, sigma, …)`: `scipy.ndimage.gaussian_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use almagest_engine::{Error, Result};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::convert::computed_type;
use super::stages::correlate1d::correlated;
use super::stages::linear::filtered;
use crate::documentation;
use crate::kernels::filter::gaussian_taps::{gaussian_radius, gaussian_taps};

/// Standard deviations below this leave an axis as it is.
const SIGMA_MIN: f64 = 1e-15;
/// Standard deviations at which the Gaussian is cut off.
const TRUNCATE: f64 = 4.0;

/// The function.
#[derive(Debug)]
pub struct GaussianFilter;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::array(
        "The array smoothed by a Gaussian, or a derivative of it: scipy.ndimage.gaussian_filter.",
        "gaussian_filter(value, sigma [, order, mode, cval, truncate, radius, axes, dtype, nan])",
        "SELECT gaussian_filter(value, 2.0) AS filtered FROM read_hdf5('data/image.h5') WHERE y = 33 AND x = 17;",
        "+----------+\n\
         | filtered |\n\
         +----------+\n\
         | 8.226662 |\n\
         +----------+",
    )
    .with_argument("value", "A column of an array.")
    .with_argument("sigma", "Standard deviation in elements, or a list of one for each axis.")
    .build()
});

impl ArrayDefinition for GaussianFilter {
    fn name(&self) -> &'static str {
        "gaussian_filter"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["sigma", "order", "mode", "cval", "truncate", "radius", "axes", "dtype", "nan"]
    }

    fn documentation(&self) -> &Documentation {
        &DOCUMENTATION
    }

    fn output_type(&self, value: &DataType, arguments: &Arguments) -> Result<DataType> {
        Ok(computed_type(value, arguments.keeps_type()?))
    }

    fn build(
        &self,
        value: Arc<dyn ArraySource>,
        arguments: &Arguments,
    ) -> Result<Arc<dyn ArraySource>> {
        let axes = arguments.axes(value.meta().shape.len())?;
        let count = axes.len();
        let sigmas = arguments.number_per_axis("sigma", count)?;
        let sigmas = sigmas.ok_or_else(|| arguments.wrong("sigma", "a number"))?;
        let orders = arguments.integer_per_axis("order", count)?.unwrap_or_else(|| vec![0; count]);
        let radii = arguments.integer_per_axis("radius", count)?;
        let truncate = arguments.number("truncate")?.unwrap_or(TRUNCATE);
        let boundaries = arguments.boundaries(count)?;
        let mut stages = vec![];
        let mut total = 1.0;
        for place in 0..count {
            let (sigma, order) = (sigmas[place], orders[place]);
            if sigma <= SIGMA_MIN {
                continue;
            }
            let radius = match &radii {
                Some(radii) => radii[place] as f64,
                None => gaussian_radius(sigma, truncate) as f64,
            };
            if !(0.0..=RADIUS_MAX).contains(&radius) || !(0..=ORDER_MAX).contains(&order) {
                return Err(Error::plan(format!(
                    "gaussian_filter: a radius of {radius} and an order of {order}; they can be \
                     0 to {RADIUS_MAX} and 0 to {ORDER_MAX}"
                )));
            }
            let weights = gaussian_taps(sigma, order as usize, radius as usize);
            total *= weights.iter().sum::<f64>();
            stages.push((axes[place], weights, radius as usize, boundaries[place]));
        }
        filtered(value, arguments, total, |mut array| {
            for (axis, weights, radius, boundary) in &stages {
                array = correlated(array, *axis, weights.clone(), *radius, *boundary)?;
            }
            Ok(array)
        })
    }
}

/// Radii above this are refused: they take more time than anyone waits.
const RADIUS_MAX: f64 = 100_000.0;
/// Derivatives above this are refused.
const ORDER_MAX: i64 = 20;
