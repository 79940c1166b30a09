//! `zeros(shape)`: an array of 0 everywhere, as `numpy.zeros`.

use std::sync::LazyLock;

use almagest_engine::Result;
use almagest_engine::array::Arguments;
use almagest_engine::catalog::{ArrayRelation, ArrayTable, RelationInputs};
use datafusion::common::ScalarValue;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::Documentation;

use super::full::constant;
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct Zeros;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::relation(
        "An array of 0 everywhere: numpy.zeros.",
        "zeros(shape [, dtype, chunks])",
        "SELECT count(*) AS elements, sum(value) AS total FROM zeros([3, 4], dtype => 'i4');",
        "+----------+-------+\n\
         | elements | total |\n\
         +----------+-------+\n\
         | 12       | 0     |\n\
         +----------+-------+",
    )
    .with_argument("shape", "The length, or a list of one for each dimension.")
    .with_argument("dtype", "The element type by NumPy's name, such as 'f4'; 'f8' without it.")
    .with_argument("chunks", "The length of a chunk on each dimension.")
    .build()
});

impl ArrayRelation for Zeros {
    fn name(&self) -> &'static str {
        "zeros"
    }

    fn inputs(&self) -> RelationInputs {
        RelationInputs::None
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["shape", "dtype", "chunks"]
    }

    fn documentation(&self) -> &Documentation {
        &DOCUMENTATION
    }

    fn build(
        &self,
        _: Vec<ArrayTable>,
        arguments: &Arguments,
        _: &dyn FunctionRegistry,
    ) -> Result<ArrayTable> {
        constant(arguments, ScalarValue::from(0.0))
    }
}
