//! Arrays of one type combined element by element.

use std::fmt;
use std::sync::Arc;

use almagest_engine::array::{ArrayFunction, ArrayMeta, ArraySource, Derived, Region, Window};
use almagest_engine::{Error, Result};
use arrow::array::ArrayRef;
use arrow::compute::kernels::numeric::{add_wrapping, mul_wrapping, sub_wrapping};

/// How elements at one place become one. Integers wrap; NULL gives NULL.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Combination {
    /// Their sum.
    Sum,
    /// The sum of their squares.
    SumOfSquares,
    /// The first without all others.
    Difference,
}

/// The combination of these arrays, in their order.
///
/// # Errors
/// `Bug` without any.
pub fn combined(
    combination: Combination,
    parts: Vec<Arc<dyn ArraySource>>,
) -> Result<Arc<dyn ArraySource>> {
    Derived::try_new(Arc::new(combination), parts)
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sum => "sum",
            Self::SumOfSquares => "sum of squares",
            Self::Difference => "difference",
        })
    }
}

impl ArrayFunction for Combination {
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta> {
        let first = inputs.first().ok_or_else(|| Error::bug("a combination of nothing"))?;
        let nullable = inputs.iter().any(|input| input.nullable);
        Ok(ArrayMeta { nullable, ..(*first).clone() })
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        Window::of(region)
    }

    fn compute(&self, _: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        let of_two = |total: ArrayRef, part: &ArrayRef| match self {
            Self::Sum => add_wrapping(&total, part),
            Self::SumOfSquares => add_wrapping(&total, &mul_wrapping(part, part)?),
            Self::Difference => sub_wrapping(&total, part),
        };
        let first = match self {
            Self::SumOfSquares => mul_wrapping(&inputs[0], &inputs[0]),
            Self::Sum | Self::Difference => Ok(Arc::clone(&inputs[0])),
        };
        first
            .and_then(|first| inputs[1..].iter().try_fold(first, of_two))
            .map_err(|cause| Error::bug("a combination of different types").caused_by(cause))
    }
}
