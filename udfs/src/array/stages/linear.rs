//! Filters that are sums of weighted elements, with missing elements left out.
//!
//! In: an array and the chain of stages that filters it. Out: the filtered array. Where elements are
//! missing, the weights of the others are scaled up to the sum of all, as astropy's convolution
//! does: the filtered values, zeros for the missing, over the filtered ones and zeros that say which
//! are there. A window without any element is NULL. Weights of both signs, as those of derivatives,
//! cannot be scaled, as some of them may sum to nothing: where one of their elements is missing, the
//! window is NULL. Integers that stay integers are cut after each stage, as SciPy cuts them, in
//! windows where nothing is missing, and once in the others.

use std::fmt;
use std::sync::Arc;

use almagest_engine::array::{
    Arguments, ArrayFunction, ArrayMeta, ArraySource, Boundary, Derived, Region, Window,
};
use almagest_engine::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, is_not_null, nullif};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};

use super::convert::{computed_type, converted};
use crate::kernels::filter::element::Element;

/// How near a quotient of sums comes to an integer that it is, before it is cut.
const ROUNDING: f64 = 1e-12;

/// The sum of weights of one sign, as what can be scaled; none of others.
pub fn total_of(weights: &[f64]) -> Option<f64> {
    let of_one_sign =
        weights.iter().all(|weight| *weight >= 0.0) || weights.iter().all(|weight| *weight <= 0.0);
    let total: f64 = weights.iter().sum();
    (of_one_sign && total != 0.0).then_some(total)
}

/// The array that `chain`, whose weights sum to `total`, if they can be scaled, makes of `value`. The
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
    let ignore_nan = arguments.ignores_nan()? && value.meta().data_type.is_floating();
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
    let mut parts = vec![part(false)?, part(true)?];
    if output.is_integer() {
        parts.push(chain(converted(value, &output)?, &|boundary| boundary)?);
    }
    Derived::try_new(Arc::new(Ratio { total, output }), parts)
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

/// Filtered values over filtered presence; for integers, what was filtered without NULL goes before.
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
        let failed = |cause| Error::bug("a ratio's type").caused_by(cause);
        let Some(complete) = inputs.get(2) else {
            return cast(&ratio, &self.output).map_err(failed);
        };
        let ratio = cut(ratio.as_primitive::<Float64Type>(), &self.output)?;
        let is_complete = is_not_null(complete).map_err(failed)?;
        zip(&is_complete, complete, &ratio).map_err(failed)
    }
}

/// Numbers as integers, cut as SciPy cuts them.
fn cut(values: &Float64Array, to: &DataType) -> Result<ArrayRef> {
    let exact = |value: f64| {
        let near = value.round();
        if (value - near).abs() <= ROUNDING * value.abs() { near } else { value }
    };
    macro_rules! cut {
        ($($name:ident $type:ty),*) => {
            match to {
                $(DataType::$name => {
                    let cut = values.unary::<_, $type>(|value| Element::from_double(exact(value)));
                    Ok(Arc::new(cut))
                })*
                other => Err(Error::bug(format!("integers of type {other}"))),
            }
        };
    }
    cut!(
        Int8 Int8Type, Int16 Int16Type, Int32 Int32Type, Int64 Int64Type, UInt8 UInt8Type,
        UInt16 UInt16Type, UInt32 UInt32Type, UInt64 UInt64Type
    )
}

fn doubles(values: &ArrayRef) -> Result<ArrayRef> {
    debug_assert!(values.data_type().is_numeric());
    cast(values, &DataType::Float64)
        .map_err(|cause| Error::bug("elements that are no numbers").caused_by(cause))
}
