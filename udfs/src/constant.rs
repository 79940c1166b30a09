//! Reads arguments that must be constants: numbers and lists of numbers.
//!
//! In: what DataFusion hands a function. Out: plain values, or an error that names function and
//! argument.

use std::sync::Arc;

use almagest_engine::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::function::AccumulatorArgs;

/// Numbers of a constant list, whole or not as they were written.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Every item is an integer.
    Integers(Vec<i64>),
    /// At least one item is not.
    Floats(Vec<f64>),
}

impl Numbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(items) => items.len(),
            Self::Floats(items) => items.len(),
        }
    }

    /// Whether each is greater than the one before; false with a NaN.
    pub fn increase(&self) -> bool {
        match self {
            Self::Integers(items) => items.is_sorted_by(|left, right| left < right),
            Self::Floats(items) => {
                items.is_sorted_by(|left, right| left < right)
                    && !items.iter().any(|item| item.is_nan())
            }
        }
    }

    /// All as floating-point numbers.
    pub fn as_floats(&self) -> Vec<f64> {
        match self {
            Self::Integers(items) => items.iter().map(|item| *item as f64).collect(),
            Self::Floats(items) => items.clone(),
        }
    }
}

/// The constant in an argument of a scalar function.
///
/// # Errors
/// `Plan` if it differs from row to row.
pub fn scalar<'a>(argument: &'a ColumnarValue, what: &str) -> Result<&'a ScalarValue> {
    match argument {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(_) => {
            Err(Error::plan(format!("{what} must be a constant, not a column")))
        }
    }
}

/// The items of a constant list; `None` if the list is NULL.
///
/// # Errors
/// `Plan` if it is no list.
pub fn list_items(value: &ScalarValue, what: &str) -> Result<Option<ArrayRef>> {
    let array = value.to_array()?;
    if array.is_null(0) {
        return Ok(None);
    }
    Ok(Some(match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(0),
        DataType::LargeList(_) => array.as_list::<i64>().value(0),
        DataType::FixedSizeList(..) => array.as_fixed_size_list().value(0),
        other => return Err(Error::plan(format!("{what} must be a list, not {other}"))),
    }))
}

/// The numbers of a constant list.
///
/// # Errors
/// `Plan` if it is no list, or holds a NULL.
pub fn numbers(value: &ScalarValue, what: &str) -> Result<Numbers> {
    let Some(items) = list_items(value, what)? else {
        return Err(Error::plan(format!("{what} must be a list, not NULL")));
    };
    if items.is_empty() {
        return Ok(Numbers::Floats(vec![]));
    }
    if items.null_count() > 0 || items.data_type().is_null() {
        return Err(Error::plan(format!("{what} must hold no NULL")));
    }
    if items.data_type().is_integer() && items.data_type() != &DataType::UInt64 {
        let items = cast(&items, &DataType::Int64).map_err(|cause| not_numbers(what, cause))?;
        return Ok(Numbers::Integers(items.as_primitive::<Int64Type>().values().to_vec()));
    }
    let items = cast(&items, &DataType::Float64).map_err(|cause| not_numbers(what, cause))?;
    Ok(Numbers::Floats(items.as_primitive::<Float64Type>().values().to_vec()))
}

fn not_numbers(what: &str, cause: arrow::error::ArrowError) -> Error {
    Error::plan(format!("{what} must be a list of numbers: {cause}"))
}

/// Whether a type is a list of one of the three kinds.
pub fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

/// The constant in an argument of an aggregate.
///
/// # Errors
/// `Plan` if it is no constant.
pub fn of_aggregate(
    call: &AccumulatorArgs,
    argument: usize,
    what: &str,
) -> Result<Option<ScalarValue>> {
    let Some(expression) = call.exprs.get(argument) else { return Ok(None) };
    let no_rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
    match expression.evaluate(&no_rows) {
        Ok(ColumnarValue::Scalar(value)) => Ok(Some(value)),
        _ => Err(Error::plan(format!("{what} must be a constant, not {expression}"))),
    }
}
