//! The type in which a function computes.

use std::fmt;
use std::sync::Arc;

use almagest_engine::array::{ArrayFunction, ArrayMeta, ArraySource, Derived, Region, Window};
use almagest_engine::{Error, Result};
use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::DataType;

/// The type of the answer of a function that computes means: `f32` stays, integers give `f64`, or
/// stay too with `keeps`.
pub fn computed_type(value: &DataType, keeps: bool) -> DataType {
    match value {
        DataType::Float32 => DataType::Float32,
        integer if keeps && integer.is_integer() => integer.clone(),
        _ => DataType::Float64,
    }
}

/// The same array with elements of this type.
///
/// # Errors
/// `Plan` if they cannot be converted.
pub fn converted(value: Arc<dyn ArraySource>, to: &DataType) -> Result<Arc<dyn ArraySource>> {
    if value.meta().data_type == *to {
        return Ok(value);
    }
    Derived::try_new(Arc::new(Convert { to: to.clone() }), vec![value])
}

#[derive(Debug)]
struct Convert {
    to: DataType,
}

impl fmt::Display for Convert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conversion to {}", self.to)
    }
}

impl ArrayFunction for Convert {
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta> {
        Ok(ArrayMeta { data_type: self.to.clone(), ..inputs[0].clone() })
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        Window::of(region)
    }

    fn compute(&self, _: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        cast(&inputs[0], &self.to)
            .map_err(|cause| Error::plan(format!("cannot convert to {}", self.to)).caused_by(cause))
    }
}
