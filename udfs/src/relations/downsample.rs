//! `downsample(sky, [4, 4], 'avg')`: blocks of an array reduced to one element each.

use std::sync::LazyLock;

use almagest_engine::array::Arguments;
use almagest_engine::catalog::{ArrayRelation, ArrayTable, RelationInputs};
use almagest_engine::exec::downsample;
use almagest_engine::{Error, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::Documentation;

use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct Downsample;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::relation(
        "Blocks of an array reduced to one element each, by any aggregate function of one argument. \
         Blocks at the end of a dimension may be partial: n elements in blocks of f give ceil(n/f).",
        "downsample(table, factors [, aggregate])",
        "SELECT x, value FROM downsample(arange(5), 2, 'avg') ORDER BY x;",
        "+---+-------+\n\
         | x | value |\n\
         +---+-------+\n\
         | 0 | 0.5   |\n\
         | 1 | 2.5   |\n\
         | 2 | 4.0   |\n\
         +---+-------+",
    )
    .with_argument("table", "An array: a table's name, a file in quotes, a query in parentheses.")
    .with_argument("factors", "The length of a block, or a list of one for each dimension.")
    .with_argument("aggregate", "The name of an aggregate function, 'avg' without it.")
    .build()
});

impl ArrayRelation for Downsample {
    fn name(&self) -> &'static str {
        "downsample"
    }

    fn inputs(&self) -> RelationInputs {
        RelationInputs::One
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["factors", "aggregate"]
    }

    fn documentation(&self) -> &Documentation {
        &DOCUMENTATION
    }

    fn build(
        &self,
        inputs: Vec<ArrayTable>,
        arguments: &Arguments,
        functions: &dyn FunctionRegistry,
    ) -> Result<ArrayTable> {
        let [table] = inputs.as_slice() else {
            return Err(Error::bug("downsample without a table"));
        };
        let factors = arguments.size_per_axis("factors", table.dims().len())?;
        let wrong = || arguments.wrong("factors", "the length of a block on each dimension");
        let factors: Vec<u64> =
            factors.ok_or_else(wrong)?.into_iter().map(|length| length as u64).collect();
        let name = arguments.text("aggregate")?.unwrap_or_else(|| "avg".into()).to_lowercase();
        let aggregate = functions.udaf(&name).map_err(|_| {
            arguments.wrong("aggregate", "the name of an aggregate function such as avg")
        })?;
        let name = format!("downsample of {}", table.name());
        table.map_arrays(name, |array| downsample(array, &factors, &aggregate))
    }
}
