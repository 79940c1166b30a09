//! `laplace(value, …)`: `scipy.ndimage.laplace`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::combine::{Combination, combined};
use super::stages::convert::{computed_type, converted};
use super::stages::correlate1d::correlated;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct Laplace;

const NAME: &str = "laplace";
const PARAMETERS: &[&str] = &["mode", "cval", "axes", "dtype"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::filter(
        NAME,
        PARAMETERS,
        "The sum of the second derivatives along all axes. Source: scipy.ndimage.laplace.",
        "laplace(value)",
        "-50.5",
        &[],
    )
});

impl ArrayDefinition for Laplace {
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
        combined(Combination::Sum, parts.collect::<Result<Vec<_>>>()?)
    }
}
