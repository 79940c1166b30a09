//! `map_blocks(value, shape, b -> …)`: a lambda over each block.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};
use arrow::datatypes::DataType;

use super::filter::Filter;
use super::stages::map_blocks::{element_of, mapped};
use super::stages::window_stage::WINDOW_ELEMENTS_MAX;
use crate::documentation;

const NAME: &str = "map_blocks";
const PARAMETERS: &[&str] = &["shape", "lambda"];

/// The function.
pub static MAP_BLOCKS: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        let own = &[
            (
                "shape",
                "Length of a block on each axis, counted from the array's start; one number for all \
                 axes. Blocks at the end are shorter. They need not be the stored chunks.",
            ),
            (
                "lambda",
                "What is computed of a block: a list of a value for each element, or one number that \
                 stands for all, from the list of the block's elements, last axis fastest. It reads \
                 nothing else.",
            ),
        ];
        documentation::filter(
            NAME,
            PARAMETERS,
            "What a lambda gives for the elements of each block. Source: dask.array.map_blocks.",
            "map_blocks(value, [16, 16], b -> array_max(b))",
            "21.75",
            own,
        )
    }),
    output,
    build,
};

fn output(_: &DataType, arguments: &Arguments) -> Result<DataType> {
    let output = arguments.lambda_type()?;
    let element = element_of(output);
    if element.is_numeric() {
        return Ok(element.clone());
    }
    Err(arguments.wrong_lambda("a list of numbers, or a number", output))
}

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let shape = arguments.size_per_axis("shape", value.meta().shape.len())?;
    let shape = shape.ok_or_else(|| arguments.wrong("shape", "a number or a list of them"))?;
    let lengths = shape.iter().zip(&value.meta().shape);
    let shape: Vec<u64> =
        lengths.map(|(block, length)| (*block as u64).min(*length).max(1)).collect();
    if shape.iter().fold(1_u64, |all, n| all.saturating_mul(*n)) > WINDOW_ELEMENTS_MAX as u64 {
        let expected = format!("for blocks of at most {WINDOW_ELEMENTS_MAX} elements");
        return Err(arguments.wrong("shape", &expected));
    }
    mapped(value, arguments.lambda()?.clone(), shape)
}
