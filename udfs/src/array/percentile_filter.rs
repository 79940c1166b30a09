//! `percentile_filter(value, …)`: `scipy.ndimage.percentile_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::rank::{Rank, ranked};
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct PercentileFilter;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::array(
        "The percentile of the window around each element: the element of rank n * percentile / 100. Source: scipy.ndimage.percentile_filter.",
        "percentile_filter(value, percentile, size, mode, cval, origin, axes, nan, footprint)",
        "SELECT percentile_filter(value, 20, 5) AS filtered FROM read_hdf5('data/image.h5') WHERE y = 33 AND x = 17;",
        "+----------+\n\
         | filtered |\n\
         +----------+\n\
         | -0.5     |\n\
         +----------+",
    )
    .with_argument("value", "A column of an array.")
    .with_argument("percentile", "0 to 100; negative ones count from 100 down.")
    .with_argument("size", "Length of the window, or a list of one for each axis.")
    .with_argument("mode", "reflect (the default), mirror, nearest, wrap or constant, or a list of one for each axis.")
    .with_argument("cval", "The value beyond the ends for mode constant; 0 without it.")
    .with_argument("origin", "How far the window is shifted, or a list.")
    .with_argument("axes", "The axes that are filtered; all without it.")
    .with_argument("nan", "'ignore' leaves NaN out of windows; without it NaN is the greatest value of ranks and spreads through sums. NULL is always left out; a window without elements gives NULL.")
    .with_argument("footprint", "A nested list of booleans in the shape of the window, instead of size.")
    .build()
});

impl ArrayDefinition for PercentileFilter {
    fn name(&self) -> &'static str {
        "percentile_filter"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["percentile", "size", "mode", "cval", "origin", "axes", "nan", "footprint"]
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
        let percentile = arguments.number("percentile")?;
        let expected = "a number from -100 to 100";
        let percentile = percentile.ok_or_else(|| arguments.wrong("percentile", expected))?;
        let percentile = if percentile < 0.0 { percentile + 100.0 } else { percentile };
        if !(0.0..=100.0).contains(&percentile) {
            return Err(arguments.wrong("percentile", expected));
        }
        ranked(value, arguments, |_| Ok(Rank::Percentile(percentile)))
    }
}
