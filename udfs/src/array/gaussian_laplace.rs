//! `gaussian_laplace(value, …)`: `scipy.ndimage.gaussian_laplace`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::combine::{Combination, combined};
use super::stages::convert::{computed_type, converted};
use super::stages::gaussian::Gaussian;
use crate::documentation;

const NAME: &str = "gaussian_laplace";
const PARAMETERS: &[&str] = &["sigma", "mode", "cval", "truncate", "radius", "axes", "dtype"];

/// The function.
pub static GAUSSIAN_LAPLACE: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "The sum of the second derivatives of the smoothed array along all axes. Source: scipy.ndimage.gaussian_laplace.",
            "gaussian_laplace(value, 2.0)",
            "0.42109248",
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
    let parts = gaussian.derivatives(&value, 2)?;
    if parts.is_empty() {
        return Ok(value);
    }
    combined(Combination::Sum, parts)
}
