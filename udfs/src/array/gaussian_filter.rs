//! `gaussian_filter(value, sigma, …)`: `scipy.ndimage.gaussian_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::gaussian::Gaussian;
use super::stages::linear::filtered;
use crate::documentation;

const NAME: &str = "gaussian_filter";
const PARAMETERS: &[&str] =
    &["sigma", "order", "mode", "cval", "truncate", "radius", "axes", "dtype", "nan"];

/// The function.
pub static GAUSSIAN_FILTER: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "The array smoothed by a Gaussian, or a derivative of it: scipy.ndimage.gaussian_filter.",
            "gaussian_filter(value, 2.0)",
            "8.226662",
            &[],
        )
    }),
    output: output::computed,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let gaussian = Gaussian::of(value.meta().shape.len(), arguments)?;
    let weights = gaussian.weights(&gaussian.orders(arguments)?);
    filtered(value, arguments, weights.total(), |value, beyond| weights.filtered(value, beyond))
}
