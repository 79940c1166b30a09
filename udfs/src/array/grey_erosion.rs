//! `grey_erosion(value, …)`: `scipy.ndimage.grey_erosion`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::grey::Structure;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct GreyErosion;

const NAME: &str = "grey_erosion";
const PARAMETERS: &[&str] = &["size", "footprint", "structure", "mode", "cval", "origin"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::filter(
        NAME,
        PARAMETERS,
        "The least element under a structure, each without its height. Source: scipy.ndimage.grey_erosion.",
        "grey_erosion(value, 3)",
        "-3.0",
        &[],
    )
});

impl ArrayDefinition for GreyErosion {
    fn name(&self) -> &'static str {
        NAME
    }

    fn parameters(&self) -> &'static [&'static str] {
        PARAMETERS
    }

    fn documentation(&self) -> &Documentation {
        &DOCUMENTATION
    }

    fn output_type(&self, value: &DataType, _: &Arguments) -> Result<DataType> {
        Ok(value.clone())
    }

    fn build(
        &self,
        value: Arc<dyn ArraySource>,
        arguments: &Arguments,
    ) -> Result<Arc<dyn ArraySource>> {
        let structure = Structure::of(value.meta().shape.len(), arguments)?;
        structure.erosion(value)
    }
}
