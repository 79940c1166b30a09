//! `percentile_filter(value, …)`: `scipy.ndimage.percentile_filter`.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::rank::{Rank, ranked};
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct PercentileFilter;

const NAME: &str = "percentile_filter";
const PARAMETERS: &[&str] =
    &["percentile", "size", "mode", "cval", "origin", "axes", "nan", "footprint"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    let own = &[("percentile", "0 to 100; negative ones count from 100 down.")];
    documentation::filter(
        NAME,
        PARAMETERS,
        "The percentile of the window around each element: the element of rank n * percentile / 100. Source: scipy.ndimage.percentile_filter.",
        "percentile_filter(value, 20, 5)",
        "-0.5",
        own,
    )
});

impl ArrayDefinition for PercentileFilter {
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
        let percentile = arguments.number("percentile")?;
        let expected = "a number from -100 to 100";
        let percentile = percentile.ok_or_else(|| arguments.wrong("percentile", expected))?;
        let percentile = if percentile < 0.0 { percentile + 100.0 } else { percentile };
        if !(0.0..=100.0).contains(&percentile) {
            return Err(arguments.wrong("percentile", expected));
        }
        ranked(value, arguments, |_| Ok(Rank::Percentile(percentile)))
    }
}
