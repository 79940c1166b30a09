//! `white_tophat(value, …)`: `scipy.ndimage.white_tophat`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::combine::{Combination, combined};
use super::stages::grey::Structure;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct WhiteTophat;

const NAME: &str = "white_tophat";
const PARAMETERS: &[&str] = &["size", "footprint", "structure", "mode", "cval", "origin"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::filter(
        NAME,
        PARAMETERS,
        "The array without its grey opening: the bright spots smaller than the structure. Source: scipy.ndimage.white_tophat.",
        "white_tophat(value, 3)",
        "16.0",
        &[],
    )
});

impl ArrayDefinition for WhiteTophat {
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
        let opening = structure.dilation(structure.erosion(Arc::clone(&value))?)?;
        combined(Combination::Difference, vec![value, opening])
    }
}
