//! `map_overlap(value, depth, w -> …)`: a lambda over the window around each element.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};
use arrow::datatypes::DataType;

use super::filter::Filter;
use super::stages::map_overlap::mapped;
use super::stages::window_stage::WINDOW_ELEMENTS_MAX;
use crate::documentation;

const NAME: &str = "map_overlap";
const PARAMETERS: &[&str] = &["depth", "lambda", "mode", "cval"];

/// The function.
pub static MAP_OVERLAP: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        let own = &[
            ("depth", "Elements of the window to either side, or a list of one for each axis."),
            (
                "lambda",
                "What is computed of a window: a number, from the list of the window's elements, last \
                 axis fastest. It reads nothing else.",
            ),
        ];
        documentation::filter(
            NAME,
            PARAMETERS,
            "What a lambda gives for the window around each element; slower than the filters. \
             Source: dask.array.map_overlap.",
            "map_overlap(value, 1, w -> array_max(w) - array_min(w))",
            "18.5",
            own,
        )
    }),
    output,
    build,
};

fn output(_: &DataType, arguments: &Arguments) -> Result<DataType> {
    let output = arguments.lambda_type()?;
    if output.is_numeric() {
        return Ok(output.clone());
    }
    Err(arguments.wrong_lambda("a number for each window", output))
}

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let dimensions = value.meta().shape.len();
    let expected = "0 or more, one number or one for each axis";
    let wrong = || arguments.wrong("depth", expected);
    let depths = arguments.integer_per_axis("depth", dimensions)?.ok_or_else(wrong)?;
    let depths: Option<Vec<usize>> =
        depths.into_iter().map(|depth| usize::try_from(depth).ok()).collect();
    let depths = depths.ok_or_else(wrong)?;
    let lengths = depths.iter().map(|depth| depth.saturating_mul(2).saturating_add(1));
    if lengths.fold(1, usize::saturating_mul) > WINDOW_ELEMENTS_MAX {
        let expected = format!("for windows of at most {WINDOW_ELEMENTS_MAX} elements");
        return Err(arguments.wrong("depth", &expected));
    }
    let boundaries = arguments.boundaries(dimensions)?;
    mapped(value, arguments.lambda()?.clone(), depths, boundaries)
}
