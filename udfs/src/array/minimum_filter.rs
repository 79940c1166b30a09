//! `minimum_filter(value, …)`: `scipy.ndimage.minimum_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::rank::{Rank, ranked};
use super::stages::uniform1d::{Taken, along_axes};
use super::stages::windows;
use crate::documentation;

const NAME: &str = "minimum_filter";
const PARAMETERS: &[&str] = &["size", "mode", "cval", "origin", "axes", "nan", "footprint"];

/// The function.
pub static MINIMUM_FILTER: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "The least element of the window around each element. Source: scipy.ndimage.minimum_filter.",
            "minimum_filter(value, 3)",
            "-3.0",
            &[],
        )
    }),
    output: output::kept,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let plain = arguments.get("footprint")?.is_none() && !arguments.ignores_nan()?;
    if plain && !value.meta().nullable {
        let reach = windows::of_size(&value, arguments)?;
        return along_axes(value, &reach, Taken::Least);
    }
    ranked(value, arguments, |_| Ok(Rank::Fixed(0)))
}
