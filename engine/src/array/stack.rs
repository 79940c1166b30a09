//! Arrays of one shape one upon the other, under a new leading dimension.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;

use super::{ArrayFunction, ArrayMeta, ArraySource, Derived, Region, Window, concat};
use crate::{Error, Result};

/// The array whose index on the new leading dimension `dim` says which of `inputs` an element is of.
///
/// # Errors
/// `Plan` for inputs of different shapes, or whose types have none in common.
pub fn stack(dim: &str, inputs: Vec<Arc<dyn ArraySource>>) -> Result<Arc<dyn ArraySource>> {
    if let [first, rest @ ..] = inputs.as_slice()
        && let Some(other) = rest.iter().find(|other| other.meta().shape != first.meta().shape)
    {
        return Err(Error::plan(format!(
            "arrays of one shape can be stacked, not {:?} and {:?}",
            first.meta().shape,
            other.meta().shape
        )));
    }
    let layers = inputs.into_iter().map(|input| {
        let layer: Arc<dyn ArrayFunction> = Arc::new(Layer { dim: dim.to_string() });
        Derived::try_new(layer, vec![input])
    });
    concat(0, layers.collect::<Result<_>>()?)
}

/// An array with a leading dimension of length 1.
#[derive(Debug)]
struct Layer {
    dim: String,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer along {}", self.dim)
    }
}

fn led_by_one(shape: &[u64]) -> Vec<u64> {
    std::iter::once(1).chain(shape.iter().copied()).collect()
}

impl ArrayFunction for Layer {
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta> {
        let input = inputs[0];
        let dims = std::iter::once(self.dim.clone()).chain(input.dims.iter().cloned());
        Ok(ArrayMeta {
            dims: dims.collect(),
            shape: led_by_one(&input.shape),
            chunk_shape: led_by_one(&input.chunk_shape),
            ..input.clone()
        })
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        Window::of(&Region::new(region.start()[1..].to_vec(), region.shape()[1..].to_vec()))
    }

    fn cut_shape_over(&self, cut_shape: Vec<u64>) -> Vec<u64> {
        led_by_one(&cut_shape)
    }

    fn compute(&self, _: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        Ok(Arc::clone(&inputs[0]))
    }
}
