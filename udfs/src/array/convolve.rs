//! `convolve(value, …)`: `scipy.ndimage.convolve`.

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
pub struct Convolve;

const NAME: &str = "convolve";
const PARAMETERS: &[&str] = &["weights", "mode", "cval", "origin", "axes", "dtype", "nan"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    let own = &[("weights", "A nested list of numbers, one depth for each axis.")];
    documentation::filter(
        NAME,
        PARAMETERS,
        "The convolution with a kernel, which is turned round. Source: scipy.ndimage.convolve.",
        "convolve(value, [[0, 1, 0], [1, 4, 1], [0, 1, 2]])",
        "57.5",
        own,
    )
});

impl ArrayDefinition for Convolve {
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
        correlated_nd(value, arguments, true)
    }
}
