//! `percentile_filter(value, …)`: `scipy.ndimage.percentile_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::rank::{Rank, ranked};
use crate::documentation;

const NAME: &str = "percentile_filter";
const PARAMETERS: &[&str] =
    &["percentile", "size", "mode", "cval", "origin", "axes", "nan", "footprint"];

/// The function.
pub static PERCENTILE_FILTER: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        let own = &[("percentile", "0 to 100; negative ones count from 100 down.")];
        documentation::filter(
            NAME,
            PARAMETERS,
            "The percentile of the window around each element: the element of rank n * percentile / 100. Source: scipy.ndimage.percentile_filter.",
            "percentile_filter(value, 20, 5)",
            "-0.5",
            own,
        )
    }),
    output: output::kept,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let percentile = arguments.number("percentile")?;
    let expected = "a number from -100 to 100";
    let percentile = percentile.ok_or_else(|| arguments.wrong("percentile", expected))?;
    let percentile = if percentile < 0.0 { percentile + 100.0 } else { percentile };
    if !(0.0..=100.0).contains(&percentile) {
        return Err(arguments.wrong("percentile", expected));
    }
    ranked(value, arguments, |_| Ok(Rank::Percentile(percentile)))
}
