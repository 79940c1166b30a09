//! `uniform_filter(value, …)`: `scipy.ndimage.uniform_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::linear::filtered;
use super::stages::uniform1d::{Taken, along_axes};
use super::stages::windows;
use crate::documentation;

const NAME: &str = "uniform_filter";
const PARAMETERS: &[&str] = &["size", "mode", "cval", "origin", "axes", "dtype", "nan"];

/// The function.
pub static UNIFORM_FILTER: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "The mean of the window around each element. Source: scipy.ndimage.uniform_filter.",
            "uniform_filter(value, 3)",
            "5.8333335",
            &[],
        )
    }),
    output: output::computed,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let reach = windows::of_size(&value, arguments)?;
    filtered(value, arguments, Some(1.0), |value, beyond| {
        along_axes(value, &windows::beyond(&reach, beyond), Taken::Mean)
    })
}
