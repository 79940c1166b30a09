//! `minimum_filter(value, …)`: `scipy.ndimage.minimum_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::rank::{Rank, ranked};
use super::stages::uniform1d::{Taken, along_axes};
use super::stages::windows;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct MinimumFilter;

const NAME: &str = "minimum_filter";
const PARAMETERS: &[&str] = &["size", "mode", "cval", "origin", "axes", "nan", "footprint"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::filter(
        NAME,
        PARAMETERS,
        "The least element of the window around each element. Source: scipy.ndimage.minimum_filter.",
        "minimum_filter(value, 3)",
        "-3.0",
        &[],
    )
});

impl ArrayDefinition for MinimumFilter {
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
        let _ = arguments;
        Ok(value.clone())
    }

    fn build(
        &self,
        value: Arc<dyn ArraySource>,
        arguments: &Arguments,
    ) -> Result<Arc<dyn ArraySource>> {
        let plain = arguments.get("footprint")?.is_none() && !arguments.ignores_nan()?;
        if plain && !value.meta().nullable {
            let reach = windows::of_size(&value, arguments)?;
            return along_axes(value, &reach, Taken::Least);
        }
        ranked(value, arguments, |_| Ok(Rank::Fixed(0)))
    }
}
