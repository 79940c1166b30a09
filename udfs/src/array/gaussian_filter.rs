//! `gaussian_filter(value, sigma, …)`: `scipy.ndimage.gaussian_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::convert::computed_type;
use super::stages::gaussian::Gaussian;
use super::stages::linear::filtered;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct GaussianFilter;

const NAME: &str = "gaussian_filter";
const PARAMETERS: &[&str] =
    &["sigma", "order", "mode", "cval", "truncate", "radius", "axes", "dtype", "nan"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::filter(
        NAME,
        PARAMETERS,
        "The array smoothed by a Gaussian, or a derivative of it: scipy.ndimage.gaussian_filter.",
        "gaussian_filter(value, 2.0)",
        "8.226662",
        &[],
    )
});

impl ArrayDefinition for GaussianFilter {
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
        let gaussian = Gaussian::of(value.meta().shape.len(), arguments)?;
        let orders = gaussian.orders(arguments)?;
        filtered(value, arguments, gaussian.total(&orders), |value, beyond| {
            gaussian.filtered(value, &orders, beyond)
        })
    }
}
