//! `concat(a, b, axis => 'y')`: arrays one behind the other, as `numpy.concatenate`.

use std::sync::LazyLock;

use almagest_engine::Result;
use almagest_engine::array::Arguments;
use almagest_engine::catalog::{ArrayRelation, ArrayTable, RelationInputs, concat_tables};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::Documentation;

use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct Concat;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::relation(
        "Arrays one behind the other along a dimension that all have: numpy.concatenate. The others \
         must have equal lengths, and the tables equal columns; types are promoted as NumPy does.",
        "concat(table, table [, …] [, axis])",
        "SELECT x, value FROM concat(arange(2), arange(5, 7)) ORDER BY x;",
        "+---+-------+\n\
         | x | value |\n\
         +---+-------+\n\
         | 0 | 0     |\n\
         | 1 | 1     |\n\
         | 2 | 5     |\n\
         | 3 | 6     |\n\
         +---+-------+",
    )
    .with_argument("table", "An array: a table's name, a file in quotes, a query in parentheses.")
    .with_argument("axis", "The dimension's name, the first one without it.")
    .build()
});

impl ArrayRelation for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn inputs(&self) -> RelationInputs {
        RelationInputs::Many
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["axis"]
    }

    fn documentation(&self) -> &Documentation {
        &DOCUMENTATION
    }

    fn build(
        &self,
        inputs: Vec<ArrayTable>,
        arguments: &Arguments,
        _: &dyn FunctionRegistry,
    ) -> Result<ArrayTable> {
        let first = inputs.first().and_then(|table| table.dims().first().cloned());
        let axis = arguments.text("axis")?.or(first);
        let axis = axis.ok_or_else(|| arguments.wrong("axis", "a dimension of the tables"))?;
        concat_tables("concat", &axis, &inputs)
    }
}
