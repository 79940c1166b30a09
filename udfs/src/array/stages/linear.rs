//! Filters that are sums of weighted elements, with missing elements left out.
//!
//! In: an array and the chain of stages that filters it. Out: the filtered array. Where elements are
//! missing, the weights of the others are scaled up to the sum of all, as astropy's convolution
//! does: the filtered values, zeros for the missing, over the filtered ones and zeros that say which
//! are there. A window without any element is NULL.

use std::fmt;
use std::sync::Arc;

use almagest_engine::array::{
    Arguments, ArrayFunction, ArrayMeta, ArraySource, Boundary, Derived, Region, Window,
};
use almagest_engine::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::convert::{computed_type, converted};

/// The array that `chain`, whose weights sum to `total`, makes of `value`. The chain is also given
/// what its boundaries become: a constant beyond the ends is there, and not missing, unless it is
/// left out as NaN.
///
/// # Errors
/// `Plan` for arguments that do not fit.
pub fn filtered(
    value: Arc<dyn ArraySource>,
    arguments: &Arguments,
    total: f64,
    chain: impl Fn(Arc<dyn ArraySource>, &dyn Fn(Boundary) -> Boundary) -> Result<Arc<dyn ArraySource>>,
) -> Result<Arc<dyn ArraySource>> {
    let output = computed_type(&value.meta().data_type, arguments.keeps_type()?);
    let ignore_nan = arguments.ignores_nan()?;
    if !value.meta().nullable && !ignore_nan {
        return chain(converted(value, &output)?, &|boundary| boundary);
    }
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
