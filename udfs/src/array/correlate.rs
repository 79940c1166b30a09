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

const NAME: &str = "correlate";
const PARAMETERS: &[&str] = &["weights", "mode", "cval", "origin", "axes", "dtype", "nan"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    let own = &[("weights", "A nested list of numbers, one depth for each axis.")];
    documentation::filter(
        NAME,
        PARAMETERS,
        "The correlation with a kernel. Source: scipy.ndimage.correlate.",
        "correlate(value, [[0, 1, 0], [1, 4, 1], [0, 1, 2]])",
        "76.0",
        own,
    )
});

impl ArrayDefinition for Correlate {
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
        correlated_nd(value, arguments, false)
    }
}
