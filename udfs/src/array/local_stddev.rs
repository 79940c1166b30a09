//! `local_stddev(value, …)`: the deviation of windows, as `numpy.std` of each.

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
pub struct LocalStddev;

const NAME: &str = "local_stddev";
const PARAMETERS: &[&str] = &["size", "mode", "cval", "origin", "axes", "nan"];

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::filter(
        NAME,
        PARAMETERS,
        "The population standard deviation of the window around each element. Integers give DOUBLE.",
        "local_stddev(value, 3)",
        "6.914156",
        &[],
    )
});

impl ArrayDefinition for LocalStddev {
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
        local(value, arguments, Statistic::Stddev)
    }
}
