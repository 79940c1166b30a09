//! `grey_dilation(value, …)`: `scipy.ndimage.grey_dilation`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::grey::Structure;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct GreyDilation;

const NAME: &str = "grey_dilation";
const PARAMETERS: &[&str] = &["size", "footprint", "structure", "mode", "cval", "origin"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::filter(
        NAME,
        PARAMETERS,
        "The greatest element under a structure turned round, each with its height. Source: scipy.ndimage.grey_dilation.",
        "grey_dilation(value, 3)",
        "15.5",
        &[],
    )
});

impl ArrayDefinition for GreyDilation {
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
        structure.dilation(value)
    }
}
