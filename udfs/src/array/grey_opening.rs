//! `grey_opening(value, …)`: `scipy.ndimage.grey_opening`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::grey::Structure;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct GreyOpening;

const NAME: &str = "grey_opening";
const PARAMETERS: &[&str] = &["size", "footprint", "structure", "mode", "cval", "origin"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::filter(
        NAME,
        PARAMETERS,
        "A grey dilation of a grey erosion: bright spots smaller than the structure vanish. Source: scipy.ndimage.grey_opening.",
        "grey_opening(value, 3)",
        "-1.75",
        &[],
    )
});

impl ArrayDefinition for GreyOpening {
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
        structure.dilation(structure.erosion(value)?)
    }
}
