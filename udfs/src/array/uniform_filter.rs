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

const NAME: &str = "uniform_filter";
const PARAMETERS: &[&str] = &["size", "mode", "cval", "origin", "axes", "dtype", "nan"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::filter(
        NAME,
        PARAMETERS,
        "The mean of the window around each element. Source: scipy.ndimage.uniform_filter.",
        "uniform_filter(value, 3)",
        "5.8333335",
        &[],
    )
});

impl ArrayDefinition for UniformFilter {
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
        let reach = windows::of_size(&value, arguments)?;
        filtered(value, arguments, 1.0, |value, beyond| {
            along_axes(value, &windows::beyond(&reach, beyond), Taken::Mean)
        })
    }
}
