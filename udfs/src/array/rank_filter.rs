//! `rank_filter(value, …)`: `scipy.ndimage.rank_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArraySource};

use super::filter::{Filter, output};
use super::stages::rank::{Rank, ranked};
use crate::documentation;

const NAME: &str = "rank_filter";
const PARAMETERS: &[&str] = &["rank", "size", "mode", "cval", "origin", "axes", "nan", "footprint"];

/// The function.
pub static RANK_FILTER: Filter = Filter {
    name: NAME,
    parameters: PARAMETERS,
    documentation: LazyLock::new(|| {
        let own = &[("rank", "From 0 at the least; negative ones count from the greatest.")];
        documentation::filter(
            NAME,
            PARAMETERS,
            "The element of a rank in the window around each element. Source: scipy.ndimage.rank_filter.",
            "rank_filter(value, 2, 3)",
            "-1.75",
            own,
        )
    }),
    output: output::kept,
    build,
};

fn build(value: Arc<dyn ArraySource>, arguments: &Arguments) -> Result<Arc<dyn ArraySource>> {
    let rank = arguments.integer("rank")?;
    let rank = rank.ok_or_else(|| arguments.wrong("rank", "a whole number"))?;
    ranked(value, arguments, |count| {
        let count = count as i64;
        if (-count..count).contains(&rank) {
            return Ok(Rank::Fixed(rank));
        }
        Err(arguments.wrong("rank", &format!("from {} to {}", -count, count - 1)))
    })
}
