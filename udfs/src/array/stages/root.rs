//! The square root of each element.

use std::fmt;
use std::sync::Arc;

use almagest_engine::Result;
use almagest_engine::array::ArraySource;

use super::window_stage::{Kernel, WindowStage};
use crate::kernels::filter::element::Element;

/// The array of square roots, cut to the array's own type.
///
/// # Errors
/// `Plan` for elements that are no numbers.
pub fn root(value: Arc<dyn ArraySource>) -> Result<Arc<dyn ArraySource>> {
    WindowStage::over(value, vec![], Root)
}

#[derive(Debug)]
struct Root;

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("square root")
    }
}

impl Kernel for Root {
    fn run<T: Element>(
        &self,
        values: &[T],
        valid: Option<&[bool]>,
        _: &[usize],
    ) -> (Vec<T>, Option<Vec<bool>>) {
        let roots = values.iter().map(|value| T::from_double(value.to_double().sqrt()));
        (roots.collect(), valid.map(<[bool]>::to_vec))
    }
}
