//! `uniform_filter(value, …)`: `scipy.ndimage.uniform_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::convert::computed_type;
use super::stages::linear::filtered;
use super::stages::uniform1d::{Taken, along_axes};
use super::stages::windows;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct UniformFilter;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::array(
        "The mean of the window around each element. Source: scipy.ndimage.uniform_filter.",
        "uniform_filter(value, size, mode, cval, origin, axes, dtype, nan)",
        "SELECT uniform_filter(value, 3) AS filtered FROM read_hdf5('data/image.h5') WHERE y = 33 AND x = 17;",
        "+-----------+\n\
         | filtered  |\n\
         +-----------+\n\
         | 5.8333335 |\n\
         +-----------+",
    )
    .with_argument("value", "A column of an array.")
    .with_argument("size", "Length of the window, or a list of one for each axis.")
    .with_argument("mode", "reflect (the default), mirror, nearest, wrap or constant, or a list of one for each axis.")
    .with_argument("cval", "The value beyond the ends for mode constant; 0 without it.")
    .with_argument("origin", "How far the window is shifted, or a list.")
    .with_argument("axes", "The axes that are filtered; all without it.")
    .with_argument("dtype", "'same' keeps an integer type and cuts results to it, as SciPy does; without it integers give DOUBLE. REAL stays REAL.")
    .with_argument("nan", "'ignore' leaves NaN out of windows; without it NaN is the greatest value of ranks and spreads through sums. NULL is always left out; a window without elements gives NULL.")
    .build()
});

impl ArrayDefinition for UniformFilter {
    fn name(&self) -> &'static str {
        "uniform_filter"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["size", "mode", "cval", "origin", "axes", "dtype", "nan"]
    }

    fn documentation(&self) -> &Documentation {
        &DOCUMENTATION
    }

    fn output_type(&self, value: &DataType, arguments: &Arguments) -> Result<DataType> {
        Ok(computed_type(value, arguments.keeps_type()?))
    }

    fn build(
        &self,
        value: Arc<dyn ArraySource>,
        arguments: &Arguments,
    ) -> Result<Arc<dyn ArraySource>> {
        let reach = windows::of_size(&value, arguments)?;
        filtered(value, arguments, 1.0, |value| along_axes(value, &reach, Taken::Mean))
    }
}
