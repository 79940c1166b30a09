//! `grey_closing(value, …)`: `scipy.ndimage.grey_closing`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::grey::Structure;
use crate::documentation;

const NAME: &str = "grey_closing";
const PARAMETERS: &[&str] = &["size", "footprint", "structure", "mode", "cval", "origin"];

/// The function.
pub static GREY_CLOSING: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "A grey erosion of a grey dilation: dark spots smaller than the structure vanish. Source: scipy.ndimage.grey_closing.",
            "grey_closing(value, 3)",
            "15.5",
            &[],
        )
    }),
    output: output::kept,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let structure = Structure::of(value.meta().shape.len(), arguments)?;
    structure.erosion(structure.dilation(value)?)
}
