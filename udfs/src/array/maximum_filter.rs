//! `maximum_filter(value, …)`: `scipy.ndimage.maximum_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::rank::{Rank, ranked};
use super::stages::uniform1d::{Taken, along_axes};
use super::stages::windows;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct MaximumFilter;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::array(
        "The greatest element of the window around each element. Source: scipy.ndimage.maximum_filter.",
        "maximum_filter(value, size, mode, cval, origin, axes, nan, footprint)",
        "SELECT maximum_filter(value, 3) AS filtered FROM read_hdf5('data/image.h5') WHERE y = 33 AND x = 17;",
        "+----------+\n\
         | filtered |\n\
         +----------+\n\
         | 15.5     |\n\
         +----------+",
    )
    .with_argument("value", "A column of an array.")
    .with_argument("size", "Length of the window, or a list of one for each axis.")
    .with_argument("mode", "reflect (the default), mirror, nearest, wrap or constant, or a list of one for each axis.")
    .with_argument("cval", "The value beyond the ends for mode constant; 0 without it.")
    .with_argument("origin", "How far the window is shifted, or a list.")
    .with_argument("axes", "The axes that are filtered; all without it.")
    .with_argument("nan", "'ignore' leaves NaN out of windows; without it NaN is the greatest value of ranks and spreads through sums. NULL is always left out; a window without elements gives NULL.")
    .with_argument("footprint", "A nested list of booleans in the shape of the window, instead of size.")
    .build()
});

impl ArrayDefinition for MaximumFilter {
    fn name(&self) -> &'static str {
        "maximum_filter"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["size", "mode", "cval", "origin", "axes", "nan", "footprint"]
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
        let plain = arguments.get("footprint")?.is_none() && !arguments.ignores_nan()?;
        if plain && !value.meta().nullable {
            let reach = windows::of_size(&value, arguments)?;
            return along_axes(value, &reach, Taken::Greatest);
        }
        ranked(value, arguments, |_| Ok(Rank::Fixed(-1)))
    }
}
