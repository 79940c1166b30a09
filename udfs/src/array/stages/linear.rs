//! Filters that are sums of weighted elements, with missing elements left out.
//!
//! In: an array and the chain of stages that filters it. Out: the filtered array. Where elements are
//! missing, the weights of the others are scaled up to the sum of all, as astropy's convolution
//! does: the filtered values, zeros for the missing, over the filtered ones and zeros that say which
//! are there. A window without any element is NULL. Weights that sum to nothing, as those of
//! derivatives do, cannot be scaled: where one of their elements is missing, the window is NULL.

use std::fmt;
use std::sync::Arc;

use almagest_engine::array::{
    Arguments, ArrayFunction, ArrayMeta, ArraySource, Boundary, Derived, Region, Window,
};
use almagest_engine::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use super::convert::{computed_type, converted};

/// Weights whose sum is at most this part of their magnitudes' cancel out.
const CANCELLED: f64 = 1e-8;

/// The sum of weights, or none if they cancel out: if it is 1e-8 of that of their magnitudes or less,
/// the part of one at which astropy's `convolve` gives up too.
pub fn total_of(weights: &[f64]) -> Option<f64> {
    let total: f64 = weights.iter().sum();
    let magnitude: f64 = weights.iter().map(|weight| weight.abs()).sum();
    (total.abs() > CANCELLED * magnitude).then_some(total)
}

/// The array that `chain`, whose weights sum to `total`, if not to nothing, makes of `value`. The
/// chain is also given what its boundaries become: a constant beyond the ends is there, and not
/// missing, unless it is left out as NaN.
///
/// # Errors
/// `Plan` for arguments that do not fit.
pub fn filtered(
    value: Arc<dyn ArraySource>,
    arguments: &Arguments,
    total: Option<f64>,
    chain: impl Fn(Arc<dyn ArraySource>, &dyn Fn(Boundary) -> Boundary) -> Result<Arc<dyn ArraySource>>,
) -> Result<Arc<dyn ArraySource>> {
    let output = computed_type(&value.meta().data_type, arguments.keeps_type()?);
    let ignore_nan = arguments.ignores_nan()?;
    if !value.meta().nullable && !ignore_nan {
        return chain(converted(value, &output)?, &|boundary| boundary);
    }
    let Some(total) = total else {
        let value = if ignore_nan {
            Derived::try_new(Arc::new(NanMissing), vec![converted(value, &output)?])?
        } else {
            converted(value, &output)?
        };
        return chain(value, &|boundary| boundary);
    };
    let part = |present: bool| {
        let split = Split { present, ignore_nan };
        let split = Derived::try_new(Arc::new(split), vec![Arc::clone(&value)])?;
        chain(split, &|boundary| match boundary {
            Boundary::Constant(cval) => {
                Boundary::Constant(split_of(Some(cval), present, ignore_nan))
            }
            mode => mode,
        })
    };
    Derived::try_new(Arc::new(Ratio { total, output }), vec![part(false)?, part(true)?])
}

/// The elements, NULL for NaN.
#[derive(Debug)]
struct NanMissing;

impl fmt::Display for NanMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NULL for NaN")
    }
}

impl ArrayFunction for NanMissing {
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta> {
        Ok(ArrayMeta { nullable: true, ..inputs[0].clone() })
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        Window::of(region)
    }

    fn compute(&self, _: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        let nan: BooleanArray = match inputs[0].data_type() {
            DataType::Float32 => {
                let values = inputs[0].as_primitive::<Float32Type>();
                BooleanArray::from_unary(values, |value| value.is_nan())
            }
            DataType::Float64 => {
                let values = inputs[0].as_primitive::<Float64Type>();
                BooleanArray::from_unary(values, |value| value.is_nan())
            }
            _ => return Ok(Arc::clone(&inputs[0])),
        };
        nullif(&inputs[0], &nan).map_err(|cause| Error::bug("NaN as NULL").caused_by(cause))
    }
}

/// The elements with zeros for the missing, or ones for those that are there.
#[derive(Debug)]
struct Split {
    present: bool,
    ignore_nan: bool,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.present { "presence" } else { "values with zeros for the missing" })
    }
}

impl ArrayFunction for Split {
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta> {
        Ok(ArrayMeta { data_type: DataType::Float64, nullable: false, ..inputs[0].clone() })
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        Window::of(region)
    }

    fn compute(&self, _: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        let values = doubles(&inputs[0])?;
        let values = values.as_primitive::<Float64Type>();
        let split = values.iter().map(|value| split_of(value, self.present, self.ignore_nan));
        Ok(Arc::new(Float64Array::from_iter_values(split)))
    }
}

/// Whether an element is there, or its value, 0 if it is missing.
fn split_of(value: Option<f64>, present: bool, ignore_nan: bool) -> f64 {
    let value = value.filter(|value| !(ignore_nan && value.is_nan()));
    if present { f64::from(u8::from(value.is_some())) } else { value.unwrap_or(0.0) }
}

/// Filtered values over filtered presence.
#[derive(Debug)]
struct Ratio {
    total: f64,
    output: DataType,
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("values by presence")
    }
}

impl ArrayFunction for Ratio {
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta> {
        Ok(ArrayMeta { data_type: self.output.clone(), nullable: true, ..inputs[0].clone() })
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        Window::of(region)
    }

    fn compute(&self, _: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        let values = inputs[0].as_primitive::<Float64Type>().values().iter();
        let present = inputs[1].as_primitive::<Float64Type>().values().iter();
        let ratio = values
            .zip(present)
            .map(|(value, present)| (*present != 0.0).then(|| value / present * self.total));
        let ratio: ArrayRef = Arc::new(ratio.collect::<Float64Array>());
        cast(&ratio, &self.output).map_err(|cause| Error::bug("a ratio's type").caused_by(cause))
    }
}

fn doubles(values: &ArrayRef) -> Result<ArrayRef> {
    debug_assert!(values.data_type().is_numeric());
    cast(values, &DataType::Float64)
        .map_err(|cause| Error::bug("elements that are no numbers").caused_by(cause))
}
