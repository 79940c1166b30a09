//! The sum of arrays of one type, element by element.

use std::fmt;
use std::sync::Arc;

use almagest_engine::array::{ArrayFunction, ArrayMeta, ArraySource, Derived, Region, Window};
use almagest_engine::{Error, Result};
use arrow::array::ArrayRef;
use arrow::compute::kernels::numeric::add_wrapping;

/// The sum of these arrays, in their order; integers wrap.
///
/// # Errors
/// `Bug` without any.
pub fn sum(parts: Vec<Arc<dyn ArraySource>>) -> Result<Arc<dyn ArraySource>> {
    Derived::try_new(Arc::new(Sum), parts)
}

#[derive(Debug)]
struct Sum;

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sum")
    }
}

impl ArrayFunction for Sum {
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta> {
        let first = inputs.first().ok_or_else(|| Error::bug("a sum of nothing"))?;
        let nullable = inputs.iter().any(|input| input.nullable);
        Ok(ArrayMeta { nullable, ..(*first).clone() })
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        Window::of(region)
    }

    fn compute(&self, _: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        let mut total = Arc::clone(&inputs[0]);
        for part in &inputs[1..] {
            total = add_wrapping(&total, part)
                .map_err(|cause| Error::bug("a sum of different types").caused_by(cause))?;
        }
        Ok(total)
    }
}
