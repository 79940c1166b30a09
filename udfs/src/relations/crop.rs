//! `crop(sky, y => [0, 100], x => [50, 99])`: a box of an array, as an array of its own.

use std::ops::Range;
use std::sync::LazyLock;

use almagest_engine::array::{Arguments, Region, crop};
use almagest_engine::catalog::{ArrayRelation, ArrayTable, RelationInputs};
use almagest_engine::{Error, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::Documentation;

use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct Crop;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::relation(
        "A box of an array, as an array with edges and coordinates of its own, from 0 on: filters see \
         nothing outside. Each dimension is given as [start, stop], and stop is left out, as in \
         Python's start:stop; NULL is the array's end. Dimensions that are not named stay whole.",
        "crop(table, dimension => [start, stop] [, …])",
        "SELECT x, value FROM crop(arange(10, 20), x => [3, 5]) ORDER BY x;",
        "+---+-------+\n\
         | x | value |\n\
         +---+-------+\n\
         | 0 | 13    |\n\
         | 1 | 14    |\n\
         +---+-------+",
    )
    .with_argument("table", "An array: a table's name, a file in quotes, a query in parentheses.")
    .with_argument("dimension", "The first index and the one behind the last.")
    .build()
});

impl ArrayRelation for Crop {
    fn name(&self) -> &'static str {
        "crop"
    }

    fn inputs(&self) -> RelationInputs {
        RelationInputs::One
    }

    fn parameters(&self) -> &'static [&'static str] {
        &[]
    }

    fn takes_dimensions(&self) -> bool {
        true
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
        let [table] = inputs.as_slice() else { return Err(Error::bug("crop without a table")) };
        let known = |name: &&str| table.dims().iter().any(|dim| dim == name);
        if let Some(name) = arguments.named().find(|name| !known(name)) {
            return Err(Error::plan(format!(
                "crop: {} has no dimension '{name}'; its dimensions are {}",
                table.name(),
                table.dims().join(", ")
            )));
        }
        let axes = table.dims().iter().zip(table.shape());
        let ranges = axes.map(|(dim, length)| {
            if !arguments.named().any(|name| name == dim) {
                return Ok(0..*length);
            }
            let range = arguments.range(dim, *length).map_err(|error| in_shape(&error, table))?;
            Ok(range.unwrap_or(0..*length))
        });
        let ranges = ranges.collect::<Result<Vec<Range<u64>>>>()?;
        let region = Region::from_ranges(&ranges);
        let name = format!("crop of {}", table.name());
        table.map_arrays(name, |array| crop(array, &region))
    }
}

fn in_shape(error: &Error, table: &ArrayTable) -> Error {
    let message = format!("{}; {} has shape {:?}", error.message(), table.name(), table.shape());
    Error::new(error.kind(), message)
}
