//! `grey_dilation(value, …)`: `scipy.ndimage.grey_dilation`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::grey::Structure;
use crate::documentation;

const NAME: &str = "grey_dilation";
const PARAMETERS: &[&str] = &["size", "footprint", "structure", "mode", "cval", "origin"];

/// The function.
pub static GREY_DILATION: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "The greatest element under a structure turned round, each with its height. Source: scipy.ndimage.grey_dilation.",
            "grey_dilation(value, 3)",
            "15.5",
            &[],
        )
    }),
    output: output::kept,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let structure = Structure::of(value.meta().shape.len(), arguments)?;
    structure.dilation(value)
}
