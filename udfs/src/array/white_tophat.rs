//! `white_tophat(value, …)`: `scipy.ndimage.white_tophat`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::combine::{Combination, combined};
use super::stages::grey::Structure;
use crate::documentation;

const NAME: &str = "white_tophat";
const PARAMETERS: &[&str] = &["size", "footprint", "structure", "mode", "cval", "origin"];

/// The function.
pub static WHITE_TOPHAT: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "The array without its grey opening: the bright spots smaller than the structure. Source: scipy.ndimage.white_tophat.",
            "white_tophat(value, 3)",
            "16.0",
            &[],
        )
    }),
    output: output::kept,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let structure = Structure::of(value.meta().shape.len(), arguments)?;
    let opening = structure.dilation(structure.erosion(Arc::clone(&value))?)?;
    combined(Combination::Difference, vec![value, opening])
}
