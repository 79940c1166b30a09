//! `median_filter(value, …)`: `scipy.ndimage.median_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::rank::{Rank, ranked};
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct MedianFilter;

const NAME: &str = "median_filter";
const PARAMETERS: &[&str] = &["size", "mode", "cval", "origin", "axes", "nan", "footprint"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::filter(
        NAME,
        PARAMETERS,
        "The median of the window around each element: the element of rank n / 2. Source: scipy.ndimage.median_filter.",
        "median_filter(value, 3)",
        "6.25",
        &[],
    )
});

impl ArrayDefinition for MedianFilter {
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
        ranked(value, arguments, |_| Ok(Rank::Median))
    }
}
