//! `prewitt(value, …)`: `scipy.ndimage.prewitt`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::convert::{computed_type, converted};
use super::stages::correlate1d::correlated;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct Prewitt;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::array(
        "A derivative along one axis, smoothed along the others. Source: scipy.ndimage.prewitt.",
        "prewitt(value, axis, mode, cval, dtype)",
        "SELECT prewitt(value, 0) AS filtered FROM read_hdf5('data/image.h5') WHERE y = 33 AND x = 17;",
        "+----------+\n\
         | filtered |\n\
         +----------+\n\
         | -2.5     |\n\
         +----------+",
    )
    .with_argument("value", "A column of an array.")
    .with_argument("axis", "The axis of the derivative; the last without it.")
    .with_argument("mode", "reflect (the default), mirror, nearest, wrap or constant, or a list of one for each axis.")
    .with_argument("cval", "The value beyond the ends for mode constant; 0 without it.")
    .with_argument("dtype", "'same' keeps an integer type and cuts results to it, as SciPy does; without it integers give DOUBLE. REAL stays REAL.")
    .build()
});

impl ArrayDefinition for Prewitt {
    fn name(&self) -> &'static str {
        "prewitt"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["axis", "mode", "cval", "dtype"]
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
        let dimensions = value.meta().shape.len();
        let axis = arguments.axis("axis", dimensions)?.unwrap_or(dimensions - 1);
        let boundaries = arguments.boundaries(dimensions)?;
        let output = computed_type(&value.meta().data_type, arguments.keeps_type()?);
        let value = converted(value, &output)?;
        let mut array = correlated(value, axis, vec![-1.0, 0.0, 1.0], 1, boundaries[axis])?;
        for other in (0..dimensions).filter(|other| *other != axis) {
            array = correlated(array, other, vec![1.0, 1.0, 1.0], 1, boundaries[other])?;
        }
        Ok(array)
    }
}
