//! `local_mean(value, …)`: the mean of windows, as `numpy.mean` of each.

use std::sync::{Arc, LazyLock};

use almagest_engine::Result;
use almagest_engine::array::{Arguments, ArrayDefinition, ArraySource};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;

use super::stages::convert::computed_type;
use super::stages::local::{Statistic, local};
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct LocalMean;

const NAME: &str = "local_mean";
const PARAMETERS: &[&str] = &["size", "mode", "cval", "origin", "axes", "nan"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::filter(
        NAME,
        PARAMETERS,
        "The mean of the window around each element. Integers give DOUBLE.",
        "local_mean(value, 3)",
        "5.8333335",
        &[],
    )
});

impl ArrayDefinition for LocalMean {
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
        Ok(computed_type(value, false))
    }

    fn build(
        &self,
        value: Arc<dyn ArraySource>,
        arguments: &Arguments,
    ) -> Result<Arc<dyn ArraySource>> {
        local(value, arguments, Statistic::Mean)
    }
}
