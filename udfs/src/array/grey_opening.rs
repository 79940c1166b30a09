//! `grey_opening(value, …)`: `scipy.ndimage.grey_opening`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::grey::Structure;
use crate::documentation;

const NAME: &str = "grey_opening";
const PARAMETERS: &[&str] = &["size", "footprint", "structure", "mode", "cval", "origin"];

/// The function.
pub static GREY_OPENING: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "A grey dilation of a grey erosion: bright spots smaller than the structure vanish. Source: scipy.ndimage.grey_opening.",
            "grey_opening(value, 3)",
            "-1.75",
            &[],
        )
    }),
    output: output::kept,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let structure = Structure::of(value.meta().shape.len(), arguments)?;
    structure.dilation(structure.erosion(value)?)
}
