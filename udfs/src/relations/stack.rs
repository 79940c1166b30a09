//! `stack(a, b, axis => 'night')`: arrays under a new leading dimension, as `numpy.stack`.

use std::sync::LazyLock;

use almagest_engine::Result;
use almagest_engine::array::Arguments;
use almagest_engine::catalog::{ArrayRelation, ArrayTable, RelationInputs, stack_tables};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::Documentation;

use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct Stack;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::relation(
        "Arrays of one shape under a new leading dimension, which says which one a row is of: \
         numpy.stack. The tables must have equal columns; types are promoted as NumPy does.",
        "stack(table, table [, …], axis)",
        "SELECT night, sum(value) AS total FROM stack(ones(3), arange(3), axis => 'night') GROUP BY \
         night ORDER BY night;",
        "+-------+-------+\n\
         | night | total |\n\
         +-------+-------+\n\
         | 0     | 3.0   |\n\
         | 1     | 3.0   |\n\
         +-------+-------+",
    )
    .with_argument("table", "An array: a table's name, a file in quotes, a query in parentheses.")
    .with_argument("axis", "The name of the new dimension.")
    .build()
});

impl ArrayRelation for Stack {
    fn name(&self) -> &'static str {
        "stack"
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
        let axis = arguments.text("axis")?;
        let axis = axis.ok_or_else(|| arguments.wrong("axis", "a name for the new dimension"))?;
        stack_tables("stack", &axis, &inputs)
    }
}
