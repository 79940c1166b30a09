//! `arange(start, stop, step)`: evenly spaced values in one dimension, as `numpy.arange`.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use almagest_engine::array::Arguments;
use almagest_engine::catalog::{ArrayRelation, ArrayTable, RelationInputs};
use almagest_engine::{Error, Result};
use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::Documentation;

use super::element_type::element_type;
use super::made::{Values, made};
use crate::documentation;

/// The function.
#[derive(Debug)]
pub struct Arange;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    documentation::relation(
        "Evenly spaced values from start to before stop, in one dimension: numpy.arange. One number \
         alone is the stop. Whole numbers give BIGINT, others DOUBLE.",
        "arange([start,] stop [, step, dtype, chunks])",
        "SELECT x, value FROM arange(1, 2, 0.25) ORDER BY x;",
        "+---+-------+\n\
         | x | value |\n\
         +---+-------+\n\
         | 0 | 1.0   |\n\
         | 1 | 1.25  |\n\
         | 2 | 1.5   |\n\
         | 3 | 1.75  |\n\
         +---+-------+",
    )
    .with_argument("start", "The first value; 0 if only a stop is given.")
    .with_argument("stop", "The end, which is left out.")
    .with_argument("step", "The difference between neighbours, 1 without it.")
    .with_argument("dtype", "The element type by NumPy's name, such as 'f4'.")
    .with_argument("chunks", "The length of a chunk.")
    .build()
});

impl ArrayRelation for Arange {
    fn name(&self) -> &'static str {
        "arange"
    }

    fn inputs(&self) -> RelationInputs {
        RelationInputs::None
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["start", "stop", "step", "dtype", "chunks"]
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
        let (progression, length) = progression(arguments)?;
        if length.is_nan() || length >= LENGTH_MAX {
            return Err(arguments.wrong("step", "large enough for fewer than 2^53 values"));
        }
        let shape = vec![length.max(0.0) as u64];
        let data_type = element_type(arguments)?.unwrap_or_else(|| progression.data_type());
        let values = Arc::new(Evenly { progression, data_type: data_type.clone() });
        made("arange".into(), arguments, shape, data_type, values)
    }
}

const NOT_ZERO: &str = "another number than 0";
/// Lengths that a float counts exactly.
const LENGTH_MAX: f64 = (1_u64 << 53) as f64;

/// The values that the arguments ask for, and how many.
fn progression(arguments: &Arguments) -> Result<(Progression, f64)> {
    let (start, stop) = match arguments.get("stop")? {
        Some(_) => (Some("start"), "stop"),
        None => (None, "start"),
    };
    let no_stop = || arguments.wrong(stop, "a number");
    let mut whole = true;
    for name in start.into_iter().chain([stop, "step"]) {
        whole &= arguments.get(name)?.is_none_or(|value| value.data_type().is_integer());
    }
    if whole {
        let number = |name: &str| integer(arguments, name);
        let start = start.map(number).transpose()?.flatten().unwrap_or(0);
        let (stop, step) = (number(stop)?.ok_or_else(no_stop)?, number("step")?.unwrap_or(1));
        if step == 0 {
            return Err(arguments.wrong("step", NOT_ZERO));
        }
        let (gap, wide) = (i128::from(stop) - i128::from(start), i128::from(step));
        let rounded_up = (gap + wide - wide.signum()) / wide;
        return Ok((Progression::Integers { start, step }, rounded_up as f64));
    }
    let number = |name: &str| arguments.number(name);
    let start = start.map(number).transpose()?.flatten().unwrap_or(0.0);
    let (stop, step) = (number(stop)?.ok_or_else(no_stop)?, number("step")?.unwrap_or(1.0));
    if step == 0.0 {
        return Err(arguments.wrong("step", NOT_ZERO));
    }
    // NumPy goes on from its first two values.
    let taken = start + step - start;
    Ok((Progression::Floats { start, step: taken }, ((stop - start) / step).ceil()))
}

fn integer(arguments: &Arguments, name: &str) -> Result<Option<i64>> {
    let Some(value) = arguments.get(name)? else { return Ok(None) };
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(integer))) => Ok(Some(integer)),
        _ => Err(arguments.wrong(name, "a whole number of 64 bits")),
    }
}

#[derive(Debug)]
enum Progression {
    Integers { start: i64, step: i64 },
    Floats { start: f64, step: f64 },
}

impl Progression {
    fn data_type(&self) -> DataType {
        match self {
            Self::Integers { .. } => DataType::Int64,
            Self::Floats { .. } => DataType::Float64,
        }
    }
}

#[derive(Debug)]
struct Evenly {
    progression: Progression,
    data_type: DataType,
}

impl Values for Evenly {
    fn at(&self, positions: Range<u64>) -> Result<ArrayRef> {
        let values: ArrayRef = match self.progression {
            Progression::Integers { start, step } => Arc::new(Int64Array::from_iter_values(
                positions.map(|at| start.wrapping_add(step.wrapping_mul(at as i64))),
            )),
            Progression::Floats { start, step } => Arc::new(Float64Array::from_iter_values(
                positions.map(|at| start + at as f64 * step),
            )),
        };
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&values, &self.data_type, &strict).map_err(|cause| {
            Error::plan(format!("arange: some values are none of {}", self.data_type))
                .caused_by(cause)
        })
    }
}
