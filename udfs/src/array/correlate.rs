//! `correlate(value, …)`: `scipy.ndimage.correlate`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::convert::computed_type;
use super::stages::correlate_nd::correlated_nd;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct Correlate;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::array(
        "The correlation with a kernel. Source: scipy.ndimage.correlate.",
        "correlate(value, weights, mode, cval, origin, axes, dtype, nan)",
        "SELECT correlate(value, [[0, 1, 0], [1, 4, 1], [0, 1, 2]]) AS filtered FROM read_hdf5('data/image.h5') WHERE y = 33 AND x = 17;",
        "+----------+\n\
         | filtered |\n\
         +----------+\n\
         | 76.0     |\n\
         +----------+",
    )
    .with_argument("value", "A column of an array.")
    .with_argument("weights", "A nested list of numbers, one depth for each axis.")
    .with_argument("mode", "reflect (the default), mirror, nearest, wrap or constant, or a list of one for each axis.")
    .with_argument("cval", "The value beyond the ends for mode constant; 0 without it.")
    .with_argument("origin", "How far the window is shifted, or a list.")
    .with_argument("axes", "The axes that are filtered; all without it.")
    .with_argument("dtype", "'same' keeps an integer type and cuts results to it, as SciPy does; without it integers give DOUBLE. REAL stays REAL.")
    .with_argument("nan", "'ignore' leaves NaN out of windows; without it NaN is the greatest value of ranks and spreads through sums. NULL is always left out; a window without elements gives NULL.")
    .build()
});

impl ArrayDefinition for Correlate {
    fn name(&self) -> &'static str {
        "correlate"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["weights", "mode", "cval", "origin", "axes", "dtype", "nan"]
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
        correlated_nd(value, arguments, false)
    }
}
