//! `laplace(value, …)`: `scipy.ndimage.laplace`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::combine::{Combination, combined};
use super::stages::convert::{computed_type, converted};
use super::stages::correlate1d::correlated;
use crate::documentation;

const NAME: &str = "laplace";
const PARAMETERS: &[&str] = &["mode", "cval", "axes", "dtype"];

/// The function.
pub static LAPLACE: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "The sum of the second derivatives along all axes. Source: scipy.ndimage.laplace.",
            "laplace(value)",
            "-50.5",
            &[],
        )
    }),
    output: output::computed,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let axes = arguments.axes(value.meta().shape.len())?;
    let boundaries = arguments.boundaries(axes.len())?;
    let output = computed_type(&value.meta().data_type, arguments.keeps_type()?);
    let value = converted(value, &output)?;
    if axes.is_empty() {
        return Ok(value);
    }
    let parts = axes.iter().zip(boundaries).map(|(axis, boundary)| {
        correlated(Arc::clone(&value), *axis, vec![1.0, -2.0, 1.0], 1, boundary)
    });
    combined(Combination::Sum, parts.collect::<Result<Vec<_>>>()?)
}
