//! `grey_erosion(value, …)`: `scipy.ndimage.grey_erosion`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::grey::Structure;
use crate::documentation;

const NAME: &str = "grey_erosion";
const PARAMETERS: &[&str] = &["size", "footprint", "structure", "mode", "cval", "origin"];

/// The function.
pub static GREY_EROSION: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "The least element under a structure, each without its height. Source: scipy.ndimage.grey_erosion.",
            "grey_erosion(value, 3)",
            "-3.0",
            &[],
        )
    }),
    output: output::kept,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let structure = Structure::of(value.meta().shape.len(), arguments)?;
    structure.erosion(value)
}
