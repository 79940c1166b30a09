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

const NAME: &str = "rank_filter";
const PARAMETERS: &[&str] = &["rank", "size", "mode", "cval", "origin", "axes", "nan", "footprint"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    let own = &[("rank", "From 0 at the least; negative ones count from the greatest.")];
    documentation::filter(
        NAME,
        PARAMETERS,
        "The element of a rank in the window around each element. Source: scipy.ndimage.rank_filter.",
        "rank_filter(value, 2, 3)",
        "-1.75",
        own,
    )
});

impl ArrayDefinition for RankFilter {
    fn name(&self) -> &'static str {
        NAME
    }

    fn parameters(&self) -> &'static [&'static str] {
        PARAMETERS
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
