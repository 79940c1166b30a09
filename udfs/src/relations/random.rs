//! Arrays of random numbers, each of which depends on the seed and its position alone.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use almagest_engine::array::Arguments;
use almagest_engine::catalog::ArrayTable;
use almagest_engine::{Error, Result};
use arrow::array::{ArrayRef, Float32Array, Float64Array};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::element_type::float_type;
use super::made::{Values, made, shape};
use crate::kernels::philox::Sequence;

/// A distribution, as a function of 64 random bits.
pub trait Distribution: fmt::Debug + Send + Sync {
    /// The deviate that the bits stand for.
    fn deviate(&self, bits: u64) -> f64;

    /// Deviates are below this, also after they are rounded to fewer digits.
    fn limit(&self) -> f64 {
        f64::INFINITY
    }
}

/// The array of deviates in the shape and type that the arguments give. `stream` is the
/// distribution's own.
///
/// # Errors
/// `Plan` for arguments that do not fit.
pub fn drawn(
    arguments: &Arguments,
    stream: u32,
    distribution: Arc<dyn Distribution>,
) -> Result<ArrayTable> {
    let sequence = Sequence { seed: seed(arguments)?, stream };
    let (shape, data_type) = (shape(arguments)?, float_type(arguments)?);
    let single = data_type == DataType::Float32;
    let values = Arc::new(Random { sequence, distribution, single });
    made(arguments.function().into(), arguments, shape, data_type, values)
}

/// Without a seed, 0: a query gives the same rows each time.
fn seed(arguments: &Arguments) -> Result<u64> {
    let Some(value) = arguments.get("seed")? else { return Ok(0) };
    let integer = value.data_type().is_integer().then(|| value.cast_to(&DataType::UInt64).ok());
    match integer.flatten() {
        Some(ScalarValue::UInt64(Some(seed))) => Ok(seed),
        _ => Err(arguments.wrong("seed", "a whole number from 0 to 2^64 - 1")),
    }
}

/// A finite number by any of these names, of which one may be given.
///
/// # Errors
/// `Plan` if more are given, or it is no finite number.
pub fn finite(arguments: &Arguments, names: &[&str], default: f64) -> Result<f64> {
    let mut found = None;
    for name in names {
        let Some(number) = arguments.number(name)? else { continue };
        if !number.is_finite() {
            return Err(arguments.wrong(name, "a finite number"));
        }
        if found.replace(number).is_some() {
            return Err(Error::plan(format!(
                "{}: {} are one thing; give one of them",
                arguments.function(),
                names.join(" and ")
            )));
        }
    }
    Ok(found.unwrap_or(default))
}

#[derive(Debug)]
struct Random {
    sequence: Sequence,
    distribution: Arc<dyn Distribution>,
    single: bool,
}

impl Values for Random {
    fn at(&self, positions: Range<u64>) -> Result<ArrayRef> {
        let count = (positions.end - positions.start) as usize;
        let limit = self.distribution.limit();
        if self.single {
            let limit = limit as f32;
            let below = limit.next_down();
            let mut values = Vec::with_capacity(count);
            self.sequence.bits(positions, |bits| {
                let value = self.distribution.deviate(bits) as f32;
                values.push(if value < limit { value } else { below });
            });
            return Ok(Arc::new(Float32Array::from(values)));
        }
        let below = limit.next_down();
        let mut values = Vec::with_capacity(count);
        self.sequence.bits(positions, |bits| {
            let value = self.distribution.deviate(bits);
            values.push(if value < limit { value } else { below });
        });
        Ok(Arc::new(Float64Array::from(values)))
    }
}
