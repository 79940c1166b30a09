//! `sobel(value, …)`: `scipy.ndimage.sobel`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::convert::{computed_type, converted};
use super::stages::correlate1d::correlated;
use crate::documentation;

const NAME: &str = "sobel";
const PARAMETERS: &[&str] = &["axis", "mode", "cval", "dtype"];

/// The function.
pub static SOBEL: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        let own = &[("axis", "The axis of the derivative; the last without it.")];
        documentation::filter(
            NAME,
            PARAMETERS,
            "A derivative along one axis, smoothed along the others. Source: scipy.ndimage.sobel.",
            "sobel(value, 0)",
            "-11.75",
            own,
        )
    }),
    output: output::computed,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let dimensions = value.meta().shape.len();
    let axis = arguments.axis("axis", dimensions)?.unwrap_or(dimensions - 1);
    let boundaries = arguments.boundaries(dimensions)?;
    let output = computed_type(&value.meta().data_type, arguments.keeps_type()?);
    let value = converted(value, &output)?;
    let mut array = correlated(value, axis, vec![-1.0, 0.0, 1.0], 1, boundaries[axis])?;
    for other in (0..dimensions).filter(|other| *other != axis) {
        array = correlated(array, other, vec![1.0, 2.0, 1.0], 1, boundaries[other])?;
    }
    Ok(array)
}
