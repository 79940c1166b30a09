//! `width_bucket`: the number of the bucket that holds a value, as PostgreSQL counts them.

use std::sync::{Arc, LazyLock};

use almagest_engine::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::constant::{self, Numbers};
use crate::documentation;
use crate::kernels::bins::{Closed, edges_passed};

/// The function.
///
/// # Errors
/// `Bug` if its signature contradicts itself.
pub fn udf() -> DfResult<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable)
        .with_parameter_names(vec!["operand", "low", "high", "count"])?;
    Ok(ScalarUDF::from(WidthBucket { signature }))
}

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::catalog(
        "The number, from 1, of the bucket that holds the operand when the range from low to high \
         is cut into count buckets of one width, each closed towards low; 0 before low, count + 1 \
         from high on. With low above high the buckets run downwards. With a list instead: how \
         many of the increasing thresholds the operand has reached. NULL if any argument is NULL, \
         and for NaN (PostgreSQL refuses NaN).",
        "width_bucket(operand, low, high, count)",
        "SELECT width_bucket(5.35, 0.024, 10.06, 5) AS bucket, width_bucket(9, 10, 0, 5) AS \
         downwards, width_bucket(25, [10, 20, 30]) AS thresholds_reached;",
        "+--------+-----------+--------------------+\n\
         | bucket | downwards | thresholds_reached |\n\
         +--------+-----------+--------------------+\n\
         | 3      | 1         | 2                  |\n\
         +--------+-----------+--------------------+",
    )
    .with_argument("operand", "A number.")
    .with_argument("low", "The start of the range, or a constant list of increasing thresholds.")
    .with_argument("high", "The end of the range.")
    .with_argument("count", "How many buckets; positive.")
    .with_alternative_syntax("width_bucket(operand, thresholds)")
    .with_related_udf("cut")
    .build()
});

#[derive(Debug, PartialEq, Eq, Hash)]
struct WidthBucket {
    signature: Signature,
}

impl ScalarUDFImpl for WidthBucket {
    fn name(&self) -> &str {
        "width_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DfResult<Vec<DataType>> {
        let number = |data_type: &DataType| data_type.is_numeric() || data_type.is_null();
        match arguments {
            [operand, list] if number(operand) && constant::is_list(list) => {
                let operand = if operand.is_integer() { operand } else { &DataType::Float64 };
                Ok(vec![operand.clone(), list.clone()])
            }
            [operand, low, high, count]
                if number(operand) && number(low) && number(high) && number(count) =>
            {
                if !count.is_integer() && !count.is_null() {
                    return Err(Error::plan(format!(
                        "the bucket count of width_bucket must be an integer, not {count}"
                    ))
                    .into());
                }
                let mut types = vec![DataType::Float64; 3];
                types.push(DataType::Int64);
                Ok(types)
            }
            _ => Err(Error::plan(
                "width_bucket takes four numbers (operand, low, high, count) or a number and a \
                 list of thresholds",
            )
            .into()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let all_constant =
            call.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if all_constant { 1 } else { call.number_rows };
        let answer = match call.args.as_slice() {
            [operand, thresholds] => of_thresholds(&operand.to_array(rows)?, thresholds)?,
            arguments => {
                let columns = ColumnarValue::values_to_arrays(arguments)?;
                of_range(&columns)?
            }
        };
        if all_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answer, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(answer)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

fn of_thresholds(operands: &ArrayRef, thresholds: &ColumnarValue) -> Result<Int64Array> {
    const WHAT: &str = "the list of thresholds of width_bucket";
    let list = constant::scalar(thresholds, WHAT)?;
    if list.is_null() {
        return Ok(Int64Array::new_null(operands.len()));
    }
    let thresholds = constant::numbers(list, WHAT)?;
    if !thresholds.increase() {
        return Err(Error::plan("the thresholds of width_bucket must increase"));
    }
    let failed = |cause| Error::bug("cannot cast the operand of width_bucket").caused_by(cause);
    match &thresholds {
        // A value beyond i64 would turn to NULL, so that u64 is compared as a float.
        Numbers::Integers(thresholds)
            if operands.data_type().is_integer() && operands.data_type() != &DataType::UInt64 =>
        {
            let operands = cast(operands, &DataType::Int64).map_err(failed)?;
            let operands = operands.as_primitive::<Int64Type>();
            let reached = edges_passed(operands.values(), thresholds, Closed::Left);
            let reached: Vec<i64> = reached.into_iter().map(i64::from).collect();
            Ok(Int64Array::new(reached.into(), operands.nulls().cloned()))
        }
        thresholds => {
            let operands = cast(operands, &DataType::Float64).map_err(failed)?;
            let operands = operands.as_primitive::<Float64Type>();
            let reached = edges_passed(operands.values(), &thresholds.as_floats(), Closed::Left);
            let reached = operands.iter().zip(reached).map(|(operand, reached)| {
                operand.filter(|operand| !operand.is_nan()).map(|_| i64::from(reached))
            });
            Ok(reached.collect())
        }
    }
}

fn of_range(columns: &[ArrayRef]) -> Result<Int64Array> {
    let floats = |column: usize| columns[column].as_primitive::<Float64Type>();
    let (operands, lows, highs) = (floats(0), floats(1), floats(2));
    let counts = columns[3].as_primitive::<Int64Type>();
    let at =
        |column: &PrimitiveArray<Float64Type>, row| column.is_valid(row).then(|| column.value(row));
    (0..operands.len())
        .map(|row| {
            let (Some(operand), Some(low), Some(high), true) =
                (at(operands, row), at(lows, row), at(highs, row), counts.is_valid(row))
            else {
                return Ok(None);
            };
            bucket(operand, low, high, counts.value(row))
        })
        .collect()
}

/// PostgreSQL's `width_bucket_float8`.
fn bucket(operand: f64, low: f64, high: f64, count: i64) -> Result<Option<i64>> {
    if count <= 0 {
        return Err(Error::plan(format!(
            "the bucket count of width_bucket must be greater than zero, not {count}"
        )));
    }
    if !low.is_finite() || !high.is_finite() {
        return Err(Error::plan(format!(
            "the bounds of width_bucket must be finite, not {low} and {high}"
        )));
    }
    if low == high {
        return Err(Error::plan(format!(
            "the bounds of width_bucket must differ, but both are {low}"
        )));
    }
    if operand.is_nan() {
        return Ok(None);
    }
    // Downwards is upwards with every sign turned.
    let sign = if low < high { 1.0 } else { -1.0 };
    let (operand, low, high) = (operand * sign, low * sign, high * sign);
    if operand < low {
        return Ok(Some(0));
    }
    if operand >= high {
        return count.checked_add(1).map(Some).ok_or_else(|| {
            Error::plan(format!("width_bucket cannot number {count} buckets and one more"))
        });
    }
    let fraction = if (high - low).is_finite() {
        (operand - low) / (high - low)
    } else {
        (operand / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)
    };
    // The quotient may round up to 1.
    Ok(Some(((count as f64 * fraction) as i64).min(count - 1) + 1))
}
