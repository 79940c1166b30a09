//! A stage that computes each element from the window around it, by a kernel.
//!
//! In: a kernel and the window that it takes. Out: an array of the same shape. The kernel sees the
//! window's elements as a slice of their own type; which of ten types it is, is found out here.

use std::fmt;
use std::sync::Arc;

use almagest_engine::array::{
    ArrayFunction, ArrayMeta, ArraySource, Boundary, Derived, Region, Window,
};
use almagest_engine::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};

use crate::kernels::filter::element::Element;

/// Windows of more elements than this are refused.
pub const WINDOW_ELEMENTS_MAX: usize = 1 << 24;

/// How a window reaches along one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// The axis.
    pub axis: usize,
    /// Elements before the one that the window belongs to.
    pub before: usize,
    /// Elements after it.
    pub after: usize,
    /// How the array goes on beyond its ends.
    pub boundary: Boundary,
}

impl Reach {
    /// A window of `size` elements from `-(size / 2) - origin` on, as SciPy places it.
    pub fn of_size(axis: usize, size: usize, origin: i64, boundary: Boundary) -> Self {
        let before = ((size / 2) as i64 + origin).clamp(0, size as i64 - 1) as usize;
        Self { axis, before, after: size - 1 - before, boundary }
    }

    /// The window's length.
    pub fn size(&self) -> usize {
        self.before + 1 + self.after
    }
}

/// Computes elements from their windows.
pub trait Kernel: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// The elements of a row-major array of `shape`, of which `reach` says how far it was extended:
    /// one for each place of the window. `valid` says which elements are not NULL, where some are;
    /// what is given back with the elements says the same of them.
    fn run<T: Element>(
        &self,
        values: &[T],
        valid: Option<&[bool]>,
        shape: &[usize],
    ) -> (Vec<T>, Option<Vec<bool>>);
}

/// The stage.
#[derive(Debug)]
pub struct WindowStage<K> {
    kernel: K,
    reach: Vec<Reach>,
}

impl<K: Kernel> WindowStage<K> {
    /// The array that `kernel` makes of the windows of `value`.
    ///
    /// # Errors
    /// `Plan` for elements that are no numbers.
    pub fn over(
        value: Arc<dyn ArraySource>,
        reach: Vec<Reach>,
        kernel: K,
    ) -> Result<Arc<dyn ArraySource>> {
        Derived::try_new(Arc::new(Self { kernel, reach }), vec![value])
    }
}

impl<K: Kernel> fmt::Display for WindowStage<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kernel)
    }
}

impl<K: Kernel> ArrayFunction for WindowStage<K> {
    fn output(&self, inputs: &[&ArrayMeta]) -> Result<ArrayMeta> {
        Ok(inputs[0].clone())
    }

    fn footprint(&self, region: &Region, _: usize, _: &ArrayMeta) -> Window {
        self.reach.iter().fold(Window::of(region), |window, reach| {
            window.extended(reach.axis, reach.before as i64, reach.after as i64, reach.boundary)
        })
    }

    fn compute(&self, region: &Region, inputs: &[ArrayRef]) -> Result<ArrayRef> {
        let mut shape: Vec<usize> = region.shape().iter().map(|length| *length as usize).collect();
        for reach in &self.reach {
            shape[reach.axis] += reach.before + reach.after;
        }
        let input = &inputs[0];
        let nulls = input.nulls().filter(|nulls| nulls.null_count() > 0);
        let valid: Option<Vec<bool>> = nulls.map(|nulls| nulls.iter().collect());
        macro_rules! run {
            ($type:ty) => {{
                let values = input.as_primitive::<$type>().values();
                let (values, valid) = self.kernel.run(values, valid.as_deref(), &shape);
                let nulls = valid.map(NullBuffer::from);
                Ok(Arc::new(PrimitiveArray::<$type>::new(ScalarBuffer::from(values), nulls)))
            }};
        }
        match input.data_type() {
            DataType::Float32 => run!(Float32Type),
            DataType::Float64 => run!(Float64Type),
            DataType::Int8 => run!(Int8Type),
            DataType::Int16 => run!(Int16Type),
            DataType::Int32 => run!(Int32Type),
            DataType::Int64 => run!(Int64Type),
            DataType::UInt8 => run!(UInt8Type),
            DataType::UInt16 => run!(UInt16Type),
            DataType::UInt32 => run!(UInt32Type),
            DataType::UInt64 => run!(UInt64Type),
            other => Err(Error::plan(format!("no filters of elements of type {other}"))),
        }
    }
}
