//! `full(shape, value)`: an array of one value everywhere, as `numpy.full`.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use almagest_engine::array::Arguments;
use almagest_engine::catalog::{ArrayRelation, ArrayTable, RelationInputs};
use almagest_engine::{Error, Result};
use arrow::array::ArrayRef;
use datafusion::common::ScalarValue;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::Documentation;

use super::element_type::element_type;
use super::made::{Values, made, shape};
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct Full;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::relation(
        "An array of one value everywhere: numpy.full. Its type is the value's unless dtype names \
         another.",
        "full(shape, value [, dtype, chunks])",
        "SELECT sum(value) AS total FROM full([100, 200], 7);",
        "+--------+\n\
         | total  |\n\
         +--------+\n\
         | 140000 |\n\
         +--------+",
    )
    .with_argument("shape", "The length, or a list of one for each dimension.")
    .with_argument("value", "A number or a boolean.")
    .with_argument("dtype", "The element type by NumPy's name, such as 'f4'.")
    .with_argument("chunks", "The length of a chunk on each dimension.")
    .build()
});

impl ArrayRelation for Full {
    fn name(&self) -> &'static str {
        "full"
    }

    fn inputs(&self) -> RelationInputs {
        RelationInputs::None
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["shape", "value", "dtype", "chunks"]
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
        let value = arguments.get("value")?.cloned();
        let usable = |value: &ScalarValue| {
            value.data_type().is_numeric() || matches!(value, ScalarValue::Boolean(_))
        };
        let value = value.filter(usable);
        let value = value.ok_or_else(|| arguments.wrong("value", "a number or a boolean"))?;
        constant(arguments, value)
    }
}

/// The array of `value` in the shape and type that the arguments give.
///
/// # Errors
/// `Plan` if the value is none of the type.
pub fn constant(arguments: &Arguments, value: ScalarValue) -> Result<ArrayTable> {
    let value = match element_type(arguments)? {
        None => value,
        Some(data_type) => value.cast_to(&data_type).map_err(|cause| {
            arguments.wrong("dtype", &format!("a type that holds {value}")).caused_by(cause)
        })?,
    };
    let (shape, data_type) = (shape(arguments)?, value.data_type());
    made(arguments.function().into(), arguments, shape, data_type, Arc::new(Constant { value }))
}

#[derive(Debug)]
struct Constant {
    value: ScalarValue,
}

impl Values for Constant {
    fn at(&self, positions: Range<u64>) -> Result<ArrayRef> {
        let count = (positions.end - positions.start) as usize;
        self.value.to_array_of_size(count).map_err(Error::from)
    }
}
