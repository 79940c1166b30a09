//! `gaussian_gradient_magnitude(value, …)`: `scipy.ndimage.gaussian_gradient_magnitude`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::combine::{Combination, combined};
use super::stages::convert::{computed_type, converted};
use super::stages::gaussian::Gaussian;
use super::stages::root::root;
use crate::documentation;

const NAME: &str = "gaussian_gradient_magnitude";
const PARAMETERS: &[&str] = &["sigma", "mode", "cval", "truncate", "radius", "axes", "dtype"];

/// The function.
pub static GAUSSIAN_GRADIENT_MAGNITUDE: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "The length of the gradient of the smoothed array. Source: scipy.ndimage.gaussian_gradient_magnitude; with axes, each slice along them alone.",
            "gaussian_gradient_magnitude(value, 2.0)",
            "0.5234791",
            &[],
        )
    }),
    output: output::computed,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let output = computed_type(&value.meta().data_type, arguments.keeps_type()?);
    let gaussian = Gaussian::of(value.meta().shape.len(), arguments)?;
    let value = converted(value, &output)?;
    let parts = gaussian.derivatives(&value, 1)?;
    if parts.is_empty() {
        return Ok(value);
    }
    root(combined(Combination::SumOfSquares, parts)?)
}
