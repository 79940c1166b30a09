//! `rank_filter(value, …)`: `scipy.ndimage.rank_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::rank::{Rank, ranked};
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct RankFilter;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::array(
        "The element of a rank in the window around each element. Source: scipy.ndimage.rank_filter.",
        "rank_filter(value, rank, size, mode, cval, origin, axes, nan, footprint)",
        "SELECT rank_filter(value, 2, 3) AS filtered FROM read_hdf5('data/image.h5') WHERE y = 33 AND x = 17;",
        "+----------+\n\
         | filtered |\n\
         +----------+\n\
         | -1.75    |\n\
         +----------+",
    )
    .with_argument("value", "A column of an array.")
    .with_argument("rank", "From 0 at the least; negative ones count from the greatest.")
    .with_argument("size", "Length of the window, or a list of one for each axis.")
    .with_argument("mode", "reflect (the default), mirror, nearest, wrap or constant, or a list of one for each axis.")
    .with_argument("cval", "The value beyond the ends for mode constant; 0 without it.")
    .with_argument("origin", "How far the window is shifted, or a list.")
    .with_argument("axes", "The axes that are filtered; all without it.")
    .with_argument("nan", "'ignore' leaves NaN out of windows; without it NaN is the greatest value of ranks and spreads through sums. NULL is always left out; a window without elements gives NULL.")
    .with_argument("footprint", "A nested list of booleans in the shape of the window, instead of size.")
    .build()
});

impl ArrayDefinition for RankFilter {
    fn name(&self) -> &'static str {
        "rank_filter"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["rank", "size", "mode", "cval", "origin", "axes", "nan", "footprint"]
    }

    fn documentation(&self) -> &Documentation {
        &DOCUMENTATION
    }

    fn output_type(&self, value: &DataType, arguments: &Arguments) -> Result<DataType> {
        let _ = arguments;
        Ok(value.clone())
    }

    fn build(
        &self,
        value: Arc<dyn ArraySource>,
        arguments: &Arguments,
    ) -> Result<Arc<dyn ArraySource>> {
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
}
