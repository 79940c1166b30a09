//! `median_filter(value, …)`: `scipy.ndimage.median_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::rank::{Rank, ranked};
use crate::documentation;

const NAME: &str = "median_filter";
const PARAMETERS: &[&str] = &["size", "mode", "cval", "origin", "axes", "nan", "footprint"];

/// The function.
pub static MEDIAN_FILTER: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        documentation::filter(
            NAME,
            PARAMETERS,
            "The median of the window around each element: the element of rank n / 2. Source: scipy.ndimage.median_filter.",
            "median_filter(value, 3)",
            "6.25",
            &[],
        )
    }),
    output: output::kept,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    ranked(value, arguments, |_| Ok(Rank::Median))
}
