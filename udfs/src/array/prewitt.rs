//! `prewitt(value, …)`: `scipy.ndimage.prewitt`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::convert::{computed_type, converted};
use super::stages::correlate1d::correlated;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct Prewitt;

const NAME: &str = "prewitt";
const PARAMETERS: &[&str] = &["axis", "mode", "cval", "dtype"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    let own = &[("axis", "The axis of the derivative; the last without it.")];
    documentation::filter(
        NAME,
        PARAMETERS,
        "A derivative along one axis, smoothed along the others. Source: scipy.ndimage.prewitt.",
        "prewitt(value, 0)",
        "-2.5",
        own,
    )
});

impl ArrayDefinition for Prewitt {
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
        let dimensions = value.meta().shape.len();
        let axis = arguments.axis("axis", dimensions)?.unwrap_or(dimensions - 1);
        let boundaries = arguments.boundaries(dimensions)?;
        let output = computed_type(&value.meta().data_type, arguments.keeps_type()?);
        let value = converted(value, &output)?;
        let mut array = correlated(value, axis, vec![-1.0, 0.0, 1.0], 1, boundaries[axis])?;
        for other in (0..dimensions).filter(|other| *other != axis) {
            array = correlated(array, other, vec![1.0, 1.0, 1.0], 1, boundaries[other])?;
        }
        Ok(array)
    }
}
