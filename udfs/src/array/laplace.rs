//! `laplace(value, …)`: `scipy.ndimage.laplace`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::convert::{computed_type, converted};
use super::stages::correlate1d::correlated;
use super::stages::sum::sum;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct Laplace;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::array(
        "The sum of the second derivatives along all axes. Source: scipy.ndimage.laplace.",
        "laplace(value, mode, cval, axes, dtype)",
        "SELECT laplace(value) AS filtered FROM read_hdf5('data/image.h5') WHERE y = 33 AND x = 17;",
        "+----------+\n\
         | filtered |\n\
         +----------+\n\
         | -50.5    |\n\
         +----------+",
    )
    .with_argument("value", "A column of an array.")
    .with_argument("mode", "reflect (the default), mirror, nearest, wrap or constant, or a list of one for each axis.")
    .with_argument("cval", "The value beyond the ends for mode constant; 0 without it.")
    .with_argument("axes", "The axes that are filtered; all without it.")
    .with_argument("dtype", "'same' keeps an integer type and cuts results to it, as SciPy does; without it integers give DOUBLE. REAL stays REAL.")
    .build()
});

impl ArrayDefinition for Laplace {
    fn name(&self) -> &'static str {
        "laplace"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["mode", "cval", "axes", "dtype"]
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
        let axes = arguments.axes(value.meta().shape.len())?;
        let boundaries = arguments.boundaries(axes.len())?;
        let output = computed_type(&value.meta().data_type, arguments.keeps_type()?);
        let value = converted(value, &output)?;
        if axes.is_empty() {
            return Ok(value);
        }
        let parts = axes.iter().zip(boundaries).map(|(axis, boundary)| {
            correlated(Arc::clone(&value), *axis, vec![1.0, -2.0, 1.0], 1, boundary)
        });
        sum(parts.collect::<Result<Vec<_>>>()?)
    }
}
