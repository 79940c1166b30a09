//! `gaussian_laplace(value, …)`: `scipy.ndimage.gaussian_laplace`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::combine::{Combination, combined};
use super::stages::convert::{computed_type, converted};
use super::stages::gaussian::Gaussian;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct GaussianLaplace;

const NAME: &str = "gaussian_laplace";
const PARAMETERS: &[&str] = &["sigma", "mode", "cval", "truncate", "radius", "axes", "dtype"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::filter(
        NAME,
        PARAMETERS,
        "The sum of the second derivatives of the smoothed array along all axes. Source: scipy.ndimage.gaussian_laplace.",
        "gaussian_laplace(value, 2.0)",
        "0.42109248",
        &[],
    )
});

impl ArrayDefinition for GaussianLaplace {
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
        let output = computed_type(&value.meta().data_type, arguments.keeps_type()?);
        let gaussian = Gaussian::of(value.meta().shape.len(), arguments)?;
        let value = converted(value, &output)?;
        let parts = gaussian
            .axis_orders(2)
            .map(|orders| gaussian.filtered(Arc::clone(&value), &orders, &|boundary| boundary));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        if parts.is_empty() {
            return Ok(value);
        }
        combined(Combination::Sum, parts)
    }
}
